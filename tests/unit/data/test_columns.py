"""Tables of the field become prompt pairs by the maps of columns that the shipped configs have."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from field_tables import HOPPING_TOO_LATE, MQUAKE, TWO_HOP_FACT, Record, write_table
from memory_injections.config.study import Dataset, parse_study
from memory_injections.data.answers import ALIASES, list_answers
from memory_injections.data.prompt_pairs import ENTITY, FIRST_HOP, TEXT_COLUMNS, strip_pairs
from memory_injections.errors import StudyError
from pydantic import TypeAdapter

PLACE = ("source", "repo", "revision", "commit", "file", "split", "rows")


def read(path: Path, **source: Any) -> pd.DataFrame:
    return TypeAdapter(Dataset).validate_python({"source": "file", "path": str(path)} | source).read_pairs()


def read_as(config: str, path: Path, **changes: Any) -> pd.DataFrame:
    """Read a file as the one data set of a shipped config is read."""
    study = yaml.safe_load((ROOT / "config" / f"{config}.yaml").read_text(encoding="utf-8"))
    (source,) = study["datasets"].values()
    return read(path, **{key: value for key, value in source.items() if key not in PLACE} | changes)


@pytest.mark.parametrize("config", ["twohopfact", "socrates"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_two_hop_fact(config: str, suffix: str, tmp_path: Path) -> None:
    pairs = read_as(config, write_table(TWO_HOP_FACT, tmp_path / f"a.{suffix}"))
    assert pairs.loc[0, [*TEXT_COLUMNS, FIRST_HOP, ENTITY]].tolist() == [
        "George Orwell was born in the city of",
        "The author of the novel Nineteen Eighty-Four was born in the city of",
        "George Orwell",
        "Motihari",
        "The author of the novel Nineteen Eighty-Four is",
        "Nineteen Eighty-Four",
    ]
    assert list_answers(pairs.loc[0].to_dict()) == ["Motihari", "Motīhāri", "Motihari, Bihar"]
    assert json.loads(pairs.loc[1, ALIASES]) == []
    assert pairs["fact_comp_type"].tolist() == ["birthcity of novel's author", "birthcity of novel's author"]
    assert set(pairs["clustered_by"]) == {"fact_comp_type"}
    assert pairs["uid"].tolist() == ["0", "1"]


def test_hopping_too_late(tmp_path: Path) -> None:
    pairs = read_as("hopping_too_late", write_table(HOPPING_TOO_LATE, tmp_path / "a.csv"))
    assert pairs.loc[0, [*TEXT_COLUMNS, FIRST_HOP, ENTITY]].tolist() == [
        "the capital of France is",
        "the capital of the country of citizenship of Voltaire is",
        "France",
        "Paris",
        "the country of citizenship of Voltaire is",
        "Voltaire",
    ]
    assert list_answers(pairs.loc[0].to_dict()) == ["Paris", "City of Light"]
    assert pairs["r2_template"].tolist() == ["the capital of {}", "the father of {}"]


def test_the_two_hop_cases_of_mquake(tmp_path: Path) -> None:
    """A row keeps its number; a case of three hops, and one whose cloze names the entity otherwise, are left out."""
    path = write_table(MQUAKE, tmp_path / "a.json")
    pairs = read_as("mquake", path)
    assert pairs["prompt_id"].tolist() == [1, 3]
    assert pairs.loc[0, [*TEXT_COLUMNS, FIRST_HOP, ENTITY]].tolist() == [
        "The capital of England is",
        "The capital of the country of citizenship of Ada Lovelace is",
        "England",
        "London",
        "Ada Lovelace is a citizen of",
        "Ada Lovelace",
    ]
    # The described entity comes first here, and the sentence keeps its capital.
    assert pairs.loc[1, "obscure_prompt"] == "The author of Das Kapital speaks the language of"
    assert list_answers(pairs.loc[0].to_dict()) == ["London", "London UK"]
    assert pairs["relation"].tolist() == ["capital", "languages spoken, written or signed"]
    with pytest.raises(
        StudyError, match=r"columns.obscure_prompt in row 2 .* 'The Kingdom' to replace .*`incomplete: s"
    ):
        read_as("mquake", path, incomplete="refuse")
    assert read_as("mquake", path, rows=1)["prompt_id"].tolist() == [1]
    with pytest.raises(StudyError, match="has no rows; give at least one prompt pair"):
        read_as("mquake", path, lengths={"single_hops": 4})


def test_every_kind_of_file_gives_the_same_pairs(tmp_path: Path) -> None:
    pairs = [read_as("mquake", write_table(MQUAKE, tmp_path / f"a.{kind}")) for kind in ("json", "jsonl", "parquet")]
    for others in pairs[1:]:
        pd.testing.assert_frame_equal(others, pairs[0])


def test_a_template_with_an_empty_part_is_empty(tmp_path: Path) -> None:
    rows: list[Record] = [{"who": "Ada", "where": "London"}, {"who": None, "where": "Rome"}]
    source = {
        "columns": {
            "explicit_prompt": "{who} was born in", "obscure_prompt": "She was born in {}, {who},", "memory": "who",
            "answer": "where",
        }
    }  # fmt: skip
    path = write_table(rows, tmp_path / "a.jsonl")
    with pytest.raises(StudyError, match=r"column explicit_prompt is empty in row 1 .*`incomplete: skip`"):
        read(path, **source)
    pairs = read(path, **source, incomplete="skip")
    assert pairs[TEXT_COLUMNS].values.tolist() == [["Ada was born in", "She was born in {}, Ada,", "Ada", "London"]]


def test_what_is_replaced_are_whole_words_wherever_they_stand(tmp_path: Path) -> None:
    rows = [{"text": "Al is in Algeria, and Al stays", "old": "Al", "new": "Ben"}]
    replace = {"text": "text", "replace": {"{old}": "{new}", "stays": "Al leaves"}}
    source = {"columns": {"explicit_prompt": replace, "obscure_prompt": "text", "memory": "old", "answer": "new"}}
    pairs = read(write_table(rows, tmp_path / "a.jsonl"), **source)
    assert pairs["explicit_prompt"].tolist() == ["Ben is in Algeria, and Ben Al leaves"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": {"memory": "e2.name"}}, r"has no text in a column e2.name \(but in uid, .*\); correct `columns`"),
        ({"columns": {"memory": "e3.aliases"}}, "has no text in a column e3.aliases"),
        ({"columns": {"memory": "the {e3.aliases}"}}, "has no text in a column e3.aliases"),
        ({"lengths": {"e2.value": 2}}, "has no lists in e2.value; correct `lengths`"),
        ({"lengths": {"e3.aliases": 9}}, "has no rows"),
    ],
)
def test_a_map_that_does_not_fit_is_one_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = write_table(TWO_HOP_FACT, tmp_path / "a.parquet")
    with pytest.raises(StudyError, match=sentence):
        read_as("twohopfact", path, **changes)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"memory": "a", "answer": "a"}, "columns: two names of ours stand for one column"),
        ({"memory": "{a"}, "d.columns.memory: '{a' has a brace without its partner"),
        ({"memory": {"text": "a", "replace": {}}}, "d.columns.memory.replace is empty; name at least one"),
        ({"memory": {"text": "a", "replace": {"b": "{c"}}}, "d.columns.memory.replace.b: '{c' has a brace without"),
        ({"memory": {"text": "a", "with": {}}}, "d.columns.memory.replace is missing"),
        ({"memory": 1}, "d.columns.memory is 1; give text"),
    ],
)
def test_a_map_that_means_nothing_is_one_sentence(columns: dict[str, Any], sentence: str) -> None:
    source = {"source": "file", "path": "a.csv", "columns": columns}
    with pytest.raises(StudyError, match=sentence):
        parse_study({"study": "a", "models": {"m": {"source": "local", "path": "m"}}, "datasets": {"d": source}})


def test_the_first_hop_ends_where_the_memory_follows(tmp_path: Path) -> None:
    rows = [{**dict.fromkeys(TEXT_COLUMNS, "x"), FIRST_HOP: "The author is "}]
    assert strip_pairs(read(write_table(rows, tmp_path / "a.jsonl")), "a")[FIRST_HOP].tolist() == ["The author is"]
