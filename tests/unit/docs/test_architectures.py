"""The table of docs/architectures.md says what happens with a tiny model of every family."""

import re
from pathlib import Path

import pytest
from architecture_study import N_TOKENS
from architecture_table import describe_family
from architectures import FAMILIES, OTHERS, QUICK, REFUSED, Family
from conftest import ROOT
from memory_injections.models.tokenisation import load_tokenizer
from tiny_models import train_tokenizer

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


@pytest.mark.slow
def test_the_studys_tokenizer_fits_into_every_model(tmp_path: Path) -> None:
    """transformers may read it as the tokenizer of the model's family, which adds tokens of its own."""
    tokenizer = train_tokenizer(N_TOKENS)
    for name, family in FAMILIES.items():
        config = family.configure()
        config.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        assert max(load_tokenizer(tmp_path / name).get_vocab().values()) < config.get_text_config().vocab_size, name
