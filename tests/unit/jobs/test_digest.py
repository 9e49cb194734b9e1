"""A digest of code changes with what the code computes, and with nothing else."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from memory_injections.data.sources import FileDataset, UrlDataset
from memory_injections.jobs import digest
from memory_injections.jobs.digest import digest_function, digest_modules, digest_object, digest_script

# The code that the store of cells depends on.
CELLS_SCRIPT = (ROOT / "workflow" / "scripts" / "cells.py").read_text(encoding="utf-8")
CALL = re.search(r"digest_modules\((.*?)\)", CELLS_SCRIPT, flags=re.DOTALL)
CELLS = re.findall(r'"([\w.]+)"', CALL[1] if CALL else "")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(digest.PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "package")
    return tmp_path / "package"


def edit(package: Path, module: str, change: Callable[[str], str]) -> None:
    file = package / f"{module.replace('.', '/')}.py"
    before = file.read_text()
    assert change(before) != before
    file.write_text(change(before))


def test_comments_docstrings_and_formatting_do_not_count(package: Path) -> None:
    before = digest_modules(*CELLS)
    edit(package, "injection.skipping_engine", lambda text: text.replace('"""', '"""More words. ', 1))
    edit(package, "models.limits", lambda text: text.replace("MIN_ROWS = 32", "MIN_ROWS   = 32  # a comment"))
    assert digest_modules(*CELLS) == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("models.limits", "MIN_ROWS = 32", "MIN_ROWS = 33"),
        ("injection.skipping_engine", "self.min_rows /", "1 + self.min_rows /"),
        ("injection.memory_vectors", ".sum(dim=1)", ".mean(dim=1)"),
        ("models.scoring", "count_nonzero(log_probs > own", "count_nonzero(log_probs >= own"),
        ("models.tokenisation", "[find_bos(tokenizer), *ids]", "[*ids]"),
        ("models.tokenisation", 'f"{text} {answer}"', 'f"{text}{answer}"'),
        ("models.tokenisation", "if str(tokenizer.decode([token])).strip():", "if True:"),
        ("models.loading", "dtype=set_precision(precision)", "dtype=torch.float64"),
        ("models.lens", "device=str(device)", 'device="cpu"'),
    ],
)
def test_arithmetic_of_imported_modules_counts(package: Path, module: str, old: str, new: str) -> None:
    before = digest_modules(*CELLS)
    edit(package, module, lambda text: text.replace(old, new))
    assert digest_modules(*CELLS) != before


def test_code_that_no_cell_depends_on_does_not_count(package: Path) -> None:
    before = digest_modules(*CELLS)
    edit(package, "models.lens", lambda text: text.replace("addmm(lens.b_U", "addmm(0 * lens.b_U"))
    edit(package, "models.tokenisation", lambda text: text + "\n\ndef nobody_calls_this() -> None:\n    print()\n")
    modules = (
        "config.study", "figures.style", "analysis.tables", "sweeps.store", "pages.report", "sweeps.cells",
        "data.prompt_pairs", "data.__init__",
    )  # fmt: skip
    for module in modules:
        edit(package, module, lambda text: text + "\nprint('all of it')\n")
    assert digest_modules(*CELLS) == before


SCRIPT = """
import numpy as np
from memory_injections.figures import injections, style
from memory_injections.analysis.tables import build_table3

def main():
    from memory_injections.data.text_tables import read_csv
    style.save_figure(np.zeros(1), "a", "b")
    return build_table3
"""


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("figures.style", "metadata={MARK: mark}", "metadata={}", True),  # called as an attribute of a module
        ("figures.style", 'mpl.use("agg")', 'mpl.use("pdf")', True),  # runs as soon as the module is imported
        ("figures.injections", "jitter=0.25", "jitter=0.26", False),  # a function that the script does not call
        ("analysis.averages", "99 // 100", "98 // 100", True),  # through another module
        ("data.text_tables", 'encoding="utf-8-sig"', 'encoding="utf-8"', True),  # imported inside a function
    ],
)
def test_what_a_script_uses_counts(
    package: Path, tmp_path: Path, module: str, old: str, new: str, counts: bool
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    before = digest_script(script)
    edit(package, module, lambda text: text.replace(old, new))
    assert (digest_script(script) != before) == counts


NESTED = {
    # Imports through a package's own names, a module of a package, and a relative import.
    "room.__init__": "from .inner import double\nfrom memory_injections.room.deep.lowest import LOWEST\n"
    "TITLE = 'room'\n",
    "room.inner": "from . import constants\nfrom .deep import half\n\n"
    "def double(x):\n    return constants.TWO * x\n\ndef quarter(x):\n    return half(half(x))\n",
    "room.constants": "TWO = 2\nTHREE = 3\n",
    "room.deep.__init__": "from ..constants import TWO\n\ndef half(x):\n    return x / TWO\n",
    "room.deep.lowest": "from ...room.constants import THREE as LOWEST\n",
}
USES = {
    "a name of a package": "from memory_injections.room import double\ndouble(1)\n",
    "a module of a package": "from memory_injections.room import inner\ninner.quarter(1)\n",
    "a package under another name": "import memory_injections.room.inner as of\nof.double(1)\n",
    "a name by way of two packages": "from memory_injections.room import LOWEST\nprint(LOWEST)\n",
}


@pytest.mark.parametrize(
    ("use", "module", "old", "new", "counts"),
    [
        ("a name of a package", "room.inner", "TWO * x", "TWO + x", True),
        ("a name of a package", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a name of a package", "room.constants", "THREE = 3", "THREE = 4", False),
        ("a name of a package", "room.deep.__init__", "x / TWO", "x // TWO", False),
        ("a name of a package", "room.__init__", "TITLE = 'room'", "TITLE = 'hall'", False),
        ("a module of a package", "room.inner", "half(half(x))", "half(x)", True),
        ("a module of a package", "room.deep.__init__", "x / TWO", "x // TWO", True),
        ("a module of a package", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a module of a package", "room.inner", "TWO * x", "TWO + x", False),
        ("a package under another name", "room.inner", "TWO * x", "TWO + x", True),
        ("a package under another name", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a package under another name", "room.deep.__init__", "x / TWO", "x // TWO", False),
        ("a name by way of two packages", "room.constants", "THREE = 3", "THREE = 4", True),
        ("a name by way of two packages", "room.constants", "TWO = 2", "TWO = 4", False),
    ],
)
def test_names_are_followed_through_packages(
    package: Path, tmp_path: Path, use: str, module: str, old: str, new: str, counts: bool
) -> None:
    for name, code in NESTED.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    (tmp_path / "script.py").write_text(USES[use])
    before = digest_script(tmp_path / "script.py")
    edit(package, module, lambda text: text.replace(old, new))
    assert (digest_script(tmp_path / "script.py") != before) == counts


def test_a_class_counts_with_what_it_inherits_and_uses_and_other_classes_do_not(package: Path) -> None:
    before = digest_object(FileDataset), digest_object(UrlDataset)
    edit(package, "data.sources", lambda text: text.replace('f"file {self.path}")', "self.path)"))
    file, url = digest_object(FileDataset), digest_object(UrlDataset)
    assert file != before[0]
    assert url == before[1]
    edit(package, "download.http", lambda text: text.replace("timeout=30", "timeout=31"))
    assert digest_object(FileDataset) == file
    assert digest_object(UrlDataset) != url
    edit(package, "data.sources", lambda text: text.replace("name, self.rows)", "name, None)"))
    assert digest_object(FileDataset) != file


def test_one_figure_counts_and_its_neighbours_do_not(package: Path) -> None:
    before = {name: digest_function("figures.injections", name) for name in ("change", "distribution")}
    edit(package, "figures.injections", lambda text: text.replace("jitter=0.25", "jitter=0.26"))
    assert digest_function("figures.injections", "change") == before["change"]
    assert digest_function("figures.injections", "distribution") != before["distribution"]


def test_a_name_in_quotes_counts_in_an_annotation_alone(package: Path, tmp_path: Path) -> None:
    (package / "quoted.py").write_text(
        "def change():\n    return 1\n\nclass Later:\n    pass\n\n"
        "def use(table) -> 'Later':\n    return table['change']\n"
    )
    (tmp_path / "script.py").write_text("from memory_injections.quoted import use\nuse(0)\n")
    before = digest_script(tmp_path / "script.py")
    edit(package, "quoted", lambda text: text.replace("return 1", "return 2"))
    assert digest_script(tmp_path / "script.py") == before
    edit(package, "quoted", lambda text: text.replace("pass", "value = 2"))
    assert digest_script(tmp_path / "script.py") != before


def test_versions_of_libraries_that_determine_numbers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.py").write_text("import numpy as np, tqdm\nnp.zeros(tqdm.tqdm)\n")
    versions = {"numpy": "1", "tqdm": "1"}
    monkeypatch.setattr(digest, "version", versions.__getitem__)
    before = digest_script(tmp_path / "script.py")
    versions["tqdm"] = "2"
    assert digest_script(tmp_path / "script.py") == before
    versions["numpy"] = "2"
    assert digest_script(tmp_path / "script.py") != before
