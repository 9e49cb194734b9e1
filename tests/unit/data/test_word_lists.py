"""Word lists, and the project's own."""

from pathlib import Path

import pytest
from conftest import WORDS
from memory_injections.data.word_lists import read_column, read_words
from memory_injections.errors import StudyError


def test_word_columns(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("\ufeffTop 5000 Words,Nouns\nthe,time\nbe,\nthe,year\n", encoding="utf-8")
    assert read_words(path) == {"top_5000_words": ["the", "be"], "nouns": ["time", "year"]}
    with pytest.raises(StudyError, match=r"no column 'noun'; allowed: curated, top_5000_words, nouns"):
        read_column(path, "noun")
    path.write_text("Nouns,nouns\ntime,day\n", encoding="utf-8")
    with pytest.raises(StudyError, match="two columns for nouns"):
        read_words(path)
    path.write_text("nouns,verbs\ntime,\n", encoding="utf-8")
    with pytest.raises(StudyError, match="column verbs is empty"):
        read_words(path)


def test_own_words() -> None:
    words = read_words(WORDS)
    assert list(words) == ["nouns", "verbs", "adjectives", "adverbs", "conjunctions"]
    assert all(len(words[column]) >= 40 for column in words if column != "conjunctions")
    every = [word for column in words.values() for word in column]
    assert len(every) == len(set(every))
