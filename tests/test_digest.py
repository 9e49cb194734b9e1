"""A digest of code follows what the code computes, and nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_injections import digest
from memory_injections.digest import code_digest


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
    before = code_digest("sweep")
    edit(package / "engine.py", lambda text: text.replace('"""', '"""More words. ', 1))
    edit(package / "engine.py", lambda text: text.replace("MIN_ROWS = 16", "MIN_ROWS   = 16  # a comment"))
    assert code_digest("sweep") == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("engine", "MIN_ROWS = 16", "MIN_ROWS = 17"),
        ("memories", ".sum(dim=1)", ".mean(dim=1)"),
        ("scoring", "count_nonzero(log_probs > own", "count_nonzero(log_probs >= own"),
        ("tokens", "[bos_id(tokenizer), *ids]", "[*ids]"),
        ("models", "dtype=set_precision(precision)", "dtype=torch.float64"),
        ("lens", "addmm(self.b_U", "addmm(0 * self.b_U"),
    ],
)
def test_arithmetic_of_imported_modules_counts(package: Path, module: str, old: str, new: str) -> None:
    before = code_digest("sweep")
    edit(package / f"{module}.py", lambda text: text.replace(old, new))
    assert code_digest("sweep") != before


def test_code_that_no_cell_depends_on_does_not_count(package: Path) -> None:
    before = code_digest("sweep")
    for module in ("config", "figures", "tables", "store", "report", "cells", "prompts"):
        edit(package / f"{module}.py", lambda text: text + "\nMORE = 1\n")
    assert code_digest("sweep") == before
