"""Words that give a memory or an answer away."""

from pathlib import Path

import pytest
from memory_injections.data.content_words import list_content_words, shares_words
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv


@pytest.mark.parametrize(
    ("obscure", "memory", "answer", "expected"),
    [
        ("The wife of Barack OBAMA was born in", "Michelle Obama", "Chicago", True),
        ("The largest university in Chicago is called The", "the school", "University of Chicago", True),
        ("The author of Das Kapital is", "the writer of it", "of", False),
        ("The Obamas live in", "Obama", "Washington", False),
        ("The director of 3 is", "No 3", "3", False),
    ],
)
def test_words_that_are_shared(obscure: str, memory: str, answer: str, expected: bool) -> None:
    assert shares_words({"obscure_prompt": obscure, "memory": memory, "answer": answer}) == expected


def test_content_words() -> None:
    assert list_content_words("The Länder of the U.S. – which?") == {"länder"}


@pytest.mark.parametrize(
    ("file", "expected"), [("multi_hop_1000.csv", 250), ("handwritten_obscure_explicit_data.csv", 22)]
)
def test_how_many_of_the_authors_prompts_share_a_word(file: str, expected: int, authors_data: Path) -> None:
    pairs = normalise_pairs(read_csv(authors_data / file), file)
    assert sum(map(shares_words, pairs.to_dict("records"))) == expected
