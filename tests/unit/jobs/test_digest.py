"""A digest of code follows what the code computes, and nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_injections.jobs import digest
from memory_injections.jobs.digest import digest_modules, digest_script


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(digest.PACKAGE, tmp_path / "package")
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "package")
    return tmp_path / "package"


def edit(file: Path, change: Callable[[str], str]) -> None:
    before = file.read_text()
    assert change(before) != before
    file.write_text(change(before))


def test_comments_docstrings_and_formatting_do_not_count(package: Path) -> None:
    before = digest_modules("sweep", "models")
    edit(package / "engine.py", lambda text: text.replace('"""', '"""More words. ', 1))
    edit(package / "engine.py", lambda text: text.replace("MIN_ROWS = 16", "MIN_ROWS   = 16  # a comment"))
    assert digest_modules("sweep", "models") == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("engine", "MIN_ROWS = 16", "MIN_ROWS = 17"),
        ("memories", ".sum(dim=1)", ".mean(dim=1)"),
        ("scoring", "count_nonzero(log_probs > own", "count_nonzero(log_probs >= own"),
        ("tokens", "[bos_id(tokenizer), *ids]", "[*ids]"),
        ("models", "dtype=set_precision(precision)", "dtype=torch.float64"),
        ("lens", "device=str(device)", 'device="cpu"'),
    ],
)
def test_arithmetic_of_imported_modules_counts(package: Path, module: str, old: str, new: str) -> None:
    before = digest_modules("sweep", "models")
    edit(package / f"{module}.py", lambda text: text.replace(old, new))
    assert digest_modules("sweep", "models") != before


def test_code_that_no_cell_depends_on_does_not_count(package: Path) -> None:
    before = digest_modules("sweep", "models")
    edit(package / "lens.py", lambda text: text.replace("addmm(lens.b_U", "addmm(0 * lens.b_U"))
    edit(package / "engine.py", lambda text: text + "\n\ndef nobody_calls_this() -> None:\n    print()\n")
    for module in ("config", "figures", "tables", "store", "report", "cells", "prompts"):
        edit(package / f"{module}.py", lambda text: text + "\nprint('all of it')\n")
    assert digest_modules("sweep", "models") == before


SCRIPT = """
import numpy as np
from memory_injections.pages import figures
from memory_injections.analysis.tables import table3

def main():
    from memory_injections.data.text_tables import read_csv
    figures.save(np.zeros(1), "a", "b")
    return table3
"""


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("figures", "dpi=150", "dpi=151", True),  # called as an attribute of a module
        ("figures", 'mpl.use("agg")', 'mpl.use("pdf")', True),  # runs as soon as the module is imported
        ("figures", "jitter=0.25", "jitter=0.26", False),  # a function that the script does not call
        ("statistics", "99 // 100", "98 // 100", True),  # through another module
        ("prompts", 'encoding="utf-8-sig"', 'encoding="utf-8"', True),  # imported inside a function
    ],
)
def test_what_a_script_uses_counts(
    package: Path, tmp_path: Path, module: str, old: str, new: str, counts: bool
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    before = digest_script(script)
    edit(package / f"{module}.py", lambda text: text.replace(old, new))
    assert (digest_script(script) != before) == counts


def test_versions_of_libraries_that_determine_numbers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.py").write_text("import numpy as np, tqdm\nnp.zeros(tqdm.tqdm)\n")
    versions = {"numpy": "1", "tqdm": "1"}
    monkeypatch.setattr(digest, "version", versions.__getitem__)
    before = digest_script(tmp_path / "script.py")
    versions["tqdm"] = "2"
    assert digest_script(tmp_path / "script.py") == before
    versions["numpy"] = "2"
    assert digest_script(tmp_path / "script.py") != before
