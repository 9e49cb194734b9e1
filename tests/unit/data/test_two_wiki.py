"""Prompt pairs made from 2WikiMultiHopQA's records match the authors' file."""

import ast
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from memory_injections.data.prompt_pairs import ENTITY, TEXT_COLUMNS, normalise_pairs
from memory_injections.data.text_tables import read_csv, read_records
from memory_injections.data.two_wiki import FIELDS, list_pairs, sample_pairs
from memory_injections.errors import StudyError
from two_wiki_files import RECORDS, make_record, write_records

PAIRS = list_pairs(RECORDS, "x")


@pytest.fixture(scope="module")
def rows(authors_data: Path) -> pd.DataFrame:
    """The authors' 1,000 rows with their facts."""
    table = read_csv(authors_data / "multi_hop_1000.csv")
    return table.assign(fact1=table["fact1"].map(ast.literal_eval), fact2=table["fact2"].map(ast.literal_eval))


def test_the_authors_facts_give_their_file(rows: pd.DataFrame) -> None:
    records = [
        {"type": "compositional", "evidences": [row.fact1, row.fact2], "answer": row.answer}
        for row in rows.itertuples()
    ]
    built = pd.DataFrame(list_pairs(records, "facts"))
    theirs = normalise_pairs(rows, "authors")[TEXT_COLUMNS]
    assert len(theirs) == 1000
    differing = {name: list(theirs.index[theirs[name] != built[name]]) for name in TEXT_COLUMNS}
    assert differing == {name: [] for name in TEXT_COLUMNS}


def test_what_in_the_authors_file_is_not_in_the_facts(rows: pd.DataFrame) -> None:
    """Checks the rows that docs/2wmh.md lists."""
    subject, value = rows["fact2"].str[0], rows["fact2"].str[2]
    assert list(rows.index[rows["explicit_entity"] != subject]) == [95, 311]
    assert list(rows.index[rows["answer"] != value]) == [132, 766]
    assert list(rows["answer"][[132, 766]]) == ["20 March 0851", "26 September 0188"]
    assert (rows["fact1"].str[2] != subject).sum() == 37
    general = rows["explicit_sentence"] == "The " + rows["fact2"].str[1] + " of " + subject + " is"
    assert general.sum() == 929


@pytest.mark.parametrize(
    ("relation", "explicit", "obscure"),
    [
        ("mother", "The mother of  A. T. is", "The mother of the director of Solaris is"),
        ("educated at", " A. T. was educated at", "The director of Solaris was educated at"),
        ("award received", " A. T. received the", "The director of Solaris received the"),
        ("inception", "The inception of  A. T. was in", "The inception of the director of Solaris was in"),
        ("founded by", "The  A. T. was founded by", "The the director of Solaris was founded by"),
    ],
)
def test_wording(relation: str, explicit: str, obscure: str) -> None:
    facts = [["Solaris", "director", "Andrei Tarkovsky"], [" A. T.", relation, "x"]]
    expected = (explicit, obscure, "A. T.", "y", "Solaris")
    assert list_pairs([make_record("", evidences=facts, answer="y")], "x") == [expected]


def test_only_compositional_questions_with_two_whole_facts(caplog: pytest.LogCaptureFixture) -> None:
    records = [
        make_record("A", type="comparison", evidences=None),
        make_record("B", evidences=[["B", "director", "C"]]),
        make_record("C", answer=" "),
        make_record("D", evidences=[["", "director", "C"], ["C", "mother", "D"]]),
        make_record("E"),
        make_record("E", _id="the same again"),
    ]
    (pair,) = list_pairs(records, "dev.json")
    assert pair.memory == "Director of E"
    assert "dev.json: left out 3 compositional questions without two whole facts" in caplog.text


def test_sample_depends_on_the_seed_alone() -> None:
    drawn = sample_pairs(PAIRS, 20, 0, "x")
    assert list(drawn.columns) == [*TEXT_COLUMNS, ENTITY]
    assert drawn["memory"].nunique() == 20
    assert set(drawn["memory"]) <= {pair.memory for pair in PAIRS}
    assert sample_pairs(reversed(PAIRS), 20, 0, "x").equals(drawn)
    assert sample_pairs(PAIRS, 7, 0, "x").equals(drawn.head(7))
    assert len(set(sample_pairs(PAIRS, 20, 1, "x")["memory"]) - set(drawn["memory"])) > 5
    # The sample must never change: prompt_id and finished cells depend on it.
    assert list(drawn["memory"].head(4)) == [f"Director of Film {number}" for number in (34, 49, 10, 16)]
    with pytest.raises(StudyError, match=r"x gives 50 prompt pairs, but the config asks for 51; lower `size`"):
        sample_pairs(PAIRS, 51, 0, "x")


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "zip"])
def test_every_form_gives_the_same_pairs(form: str, tmp_path: Path) -> None:
    file, member = write_records(tmp_path, form)
    records = read_records(file, "x", FIELDS, member)
    assert list_pairs(records, "x") == PAIRS
    assert set(records[0]) == {"type", "evidences", "answer"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"evidences": [["A", "director"], ["B", "mother", "C"]]}, r"field evidences.0.2: field required"),
        (
            {"evidences": [["A", "director", 7], ["B", "mother", "C"]]},
            r"field evidences.0.2: input should be a valid str",
        ),
        ({"evidences": {"fact": ["A"]}}, "field evidences: input should be a valid list"),
        ({"evidences": "[['A'"}, "field evidences: value error"),
        ({"answer": None}, "field answer: input should be a valid string"),
    ],
)
def test_malformed_records(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyError, match=rf"dev.json: record 1 \(counted from 0\), {sentence}") as error:
        list_pairs([make_record("A"), make_record("B", **changes)], "dev.json")
    assert "\n" not in str(error.value)


def test_records_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"x: record 0 \(counted from 0\) has no field type"):
        list_pairs([{"question": "?"}], "x")
    with pytest.raises(StudyError, match=r"x: record 0 \(counted from 0\) has no field type"):
        list_pairs(["compositional"], "x")
    archive, _ = write_records(tmp_path, "zip")
    text, _ = write_records(tmp_path, "json")
    with pytest.raises(StudyError, match=r"x is a zip archive of 2 files; give the one .* as `member`"):
        read_records(archive, "x")
    with pytest.raises(
        StudyError, match=r"x has no file dev.json; allowed as `member`: data/train.json, data/dev.json"
    ):
        read_records(archive, "x", FIELDS, "dev.json")
    with pytest.raises(StudyError, match=r"x cannot be read \(File is not a zip file\); if it is cut"):
        read_records(text, "x", FIELDS, "dev.json")
    text.write_bytes(text.read_bytes()[:-5])
    with pytest.raises(StudyError, match=r"x is neither a JSON list nor JSON Lines nor Parquet \(.*\)$"):
        read_records(text, "x")
