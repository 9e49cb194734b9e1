"""The table of docs/architectures.md says what happens with a tiny model of every family."""

import re

import pytest
from architecture_table import describe_family
from architectures import FAMILIES, OTHERS, QUICK, REFUSED, Family
from conftest import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")
# One that is exact, and one for each thing that refuses a model.
QUICK_ROWS = ("OLMo 2", "BERT as a decoder", "BitNet", "DeepSeek-V4", "Jamba", "VaultGemma")
ROWS = [
    pytest.param(name, family, marks=[] if name in QUICK_ROWS else pytest.mark.slow, id=name)
    for name, family in FAMILIES.items()
]


def read_rows() -> dict[str, str]:
    text = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
    return {row: line for line, row in re.findall(r"^(\| ([^|]+) \|.*)$", text, flags=re.MULTILINE)}


@pytest.mark.parametrize(("name", "family"), ROWS)
def test_a_row_is_what_the_code_says(name: str, family: Family) -> None:
    row = describe_family(name, family)
    assert row == read_rows()[name]
    assert ("| refused: " in row) == (name in REFUSED)


def test_every_family_has_a_row() -> None:
    assert set(read_rows()) - {"family", "---"} == set(FAMILIES)
    assert len({family.model_type for family in (QUICK | OTHERS).values()}) >= 40
