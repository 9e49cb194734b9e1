"""Every make of attention and block goes through the whole workflow; `make architectures` runs all families."""

from pathlib import Path

from architecture_study import run_families
from architectures import QUICK


def test_families_go_through_the_workflow(tmp_path: Path, python: Path) -> None:
    assert run_families(tmp_path, QUICK, python) == dict.fromkeys(QUICK, "")
