"""The part of an obscure prompt that describes the memory."""

import pandas as pd
import pytest
from conftest import PAIRS
from memory_injections.controls.descriptions import describe_pairs, find_description
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv


@pytest.mark.parametrize(
    ("explicit", "obscure", "memory", "text"),
    [
        ("George Washington fought in the", "The first president fought in the", "George Washington",
         "The first president"),
        ("The father of Jo March is", "The father of the hero of Little Women is", "Jo March",
         "the hero of Little Women"),
        ("The Beatles sang", "The band from Liverpool sang", "The Beatles", "The band from Liverpool"),
        ("Dickens' home was", "The novelist's home was", "Dickens'", "The novelist's"),
        ("The date of birth of  Echigues is", "The date of birth of the father of Gomes Echigues is", "Echigues",
         "the father of Gomes Echigues"),
        ("Who wed Bell: Bell was married to", "Who wed Bell: the inventor was married to", "Bell", "the inventor"),
        ("The home of zoe\u0308 is", "The home of the singer is", "Zoë ", "the singer"),
        ("Einstein's theory is called", "The physicist's theory is called", "Albert Einstein", "The physicist's"),
    ],
)  # fmt: skip
def test_what_stands_in_the_memorys_place(explicit: str, obscure: str, memory: str, text: str) -> None:
    found = find_description(explicit, obscure, memory)
    assert found is not None
    assert found.text == text == obscure[found.start : found.stop]


def test_prompts_without_a_description() -> None:
    assert find_description("The capital is", "The capital is", "Oslo") is None


def test_every_own_pair_has_one() -> None:
    pairs: pd.DataFrame = normalise_pairs(read_csv(PAIRS), "own")
    found = [description for description in describe_pairs(pairs) if description is not None]
    assert len(found) == len(pairs)
    assert all(description.opening[0].isupper() or not description.opening[0].isalpha() for description in found)
