"""Prompt pairs, word lists and the project's own data."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import PAIRS, WORDS
from memory_injections.data.prompt_pairs import TEXT_COLUMNS, normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.data.word_lists import read_column, read_words
from memory_injections.errors import StudyError

ROW = dict(zip(TEXT_COLUMNS, ("A is in ", "The b is in ", "A", "C"), strict=True))


def test_authors_names_are_read_and_text_is_kept() -> None:
    table = pd.DataFrame(
        [{"explicit_sentence": "A is in ", "obscure_sentence": "The b is in ", "explicit_entity": "A", "answer": "C"}]
    )
    assert normalise_pairs(table, "x").to_dict("records") == [{"prompt_id": 0, **ROW}]


def test_rows_limits_from_the_top() -> None:
    table = pd.DataFrame([ROW | {"answer": str(number)} for number in range(5)])
    assert list(normalise_pairs(table, "x", rows=2)["answer"]) == ["0", "1"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pd.DataFrame([ROW]).drop(columns="answer"), "pairs.csv has no column answer"),
        (pd.DataFrame([ROW, ROW | {"memory": " "}]), r"pairs.csv: column memory is empty in row 1"),
        (pd.DataFrame(columns=TEXT_COLUMNS), "pairs.csv has no rows"),
        (
            pd.DataFrame([ROW | {"explicit_sentence": "x", "explicit_sent": "y"}]).drop(columns="explicit_prompt"),
            "pairs.csv has two columns for explicit_prompt",
        ),
    ],
)
def test_bad_tables(table: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        normalise_pairs(table, "pairs.csv")


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


@pytest.mark.parametrize("content", [b"a,b\n1,2,3\n", b"a,b\n1,2,\n", b"a,b\n\xe9,2\n", b""])
def test_a_csv_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(StudyError, match=r"bad.csv is not a CSV table in UTF-8 \(.*\); repair it"):
        read_csv(tmp_path / "bad.csv")


def test_own_pairs() -> None:
    table = read_csv(PAIRS)
    pairs = normalise_pairs(table, "own")
    assert len(pairs) >= 60
    assert set(table["topic"]) == {"people", "places", "works", "nature", "sport"}
    assert not pairs.duplicated(["explicit_prompt"]).any()
    for pair in pairs.itertuples():
        assert str(pair.memory) in str(pair.explicit_prompt)
        assert str(pair.memory).lower() not in str(pair.obscure_prompt).lower()
        assert str(pair.answer).lower() not in str(pair.obscure_prompt).lower().split()
        end = str(pair.explicit_prompt).split(str(pair.memory))[1]
        assert str(pair.obscure_prompt).endswith(end)


def test_own_words() -> None:
    words = read_words(WORDS)
    assert list(words) == ["nouns", "verbs", "adjectives", "adverbs", "conjunctions"]
    assert all(len(words[column]) >= 40 for column in words if column != "conjunctions")
    every = [word for column in words.values() for word in column]
    assert len(every) == len(set(every))
