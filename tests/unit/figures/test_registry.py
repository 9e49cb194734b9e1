"""The registry of figures, which is read from the syntax of the modules that define them."""

import subprocess
import sys
from inspect import isfunction

from conftest import ROOT
from memory_injections.figures.registry import list_figures


def test_the_registry_is_that_of_the_decorators() -> None:
    registered = list_figures()
    assert len(registered) > 10
    for name, figure in registered.items():
        function = figure.load()
        assert isfunction(function)
        assert function.__module__ == figure.module
        assert figure.name == name
        assert figure.section
        assert figure.label


def test_listing_figures_imports_no_drawing_library() -> None:
    code = (
        "import sys; from memory_injections.figures.registry import list_figures; assert list_figures(); "
        "print(*{'matplotlib', 'seaborn', 'pandas', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "\n"


def test_every_registered_figure_has_a_caption() -> None:
    captions = {path.stem: path.read_text() for path in (ROOT / "workflow" / "report" / "figures").iterdir()}
    assert captions.keys() == list_figures().keys()
    assert all(len(caption) > 50 for caption in captions.values())
