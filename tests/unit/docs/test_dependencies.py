"""What is installed is what the project's files promise."""

import tomllib
from importlib.metadata import distributions

from conftest import ROOT
from packaging.specifiers import SpecifierSet


def test_the_oldest_python_that_is_promised_can_install_everything() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = about["requires-python"].removeprefix(">=") + ".0"
    wanted = {each.metadata["Name"]: each.metadata["Requires-Python"] or "" for each in distributions()}
    assert {name: versions for name, versions in wanted.items() if not SpecifierSet(versions).contains(oldest)} == {}
