"""Tables of prompt pairs, and the project's own."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import PAIRS
from memory_injections.data.answers import ALIASES, list_answers
from memory_injections.data.prompt_pairs import (
    TEXT_COLUMNS,
    index_pairs,
    iterate_pairs,
    name_pairs,
    normalise_pairs,
    read_pairs,
    strip_pairs,
)
from memory_injections.data.text_tables import read_csv
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


def test_blanks_at_the_ends_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    texts = {"explicit_prompt": " A is in \u200b", "obscure_prompt": "The b is", "memory": "\ufeffA\t", "answer": "C D"}
    table = pd.DataFrame([texts | {"entity": ""}, texts | {"memory": "A", "answer": "\xa0C", "entity": " e"}])
    pairs = strip_pairs(normalise_pairs(table, "x"), "x")
    assert pairs.drop(columns="prompt_id").to_dict("records") == [
        {"explicit_prompt": " A is in", "obscure_prompt": "The b is", "memory": "A", "answer": answer, "entity": entity,
         "stripped": stripped}
        for answer, entity, stripped in (
            ("C D", "", "explicit_prompt, memory"), ("C", "e", "explicit_prompt, answer, entity")
        )
    ]  # fmt: skip
    (said,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert said.startswith("x: invisible characters at the ends of 5 texts were left out, in prompt pairs 0 and 1;")
    assert strip_pairs(pairs.drop(columns="stripped"), "x")["stripped"].tolist() == ["", ""]


def test_aliases_are_read_in_both_syntaxes_and_each_answer_stands_once() -> None:
    cells = ['["c", "C", "D", " é"]', "['c', \"D's\", ' ']", "", "[]", "()"]
    pairs = normalise_pairs(pd.DataFrame([ROW | {ALIASES: cell} for cell in cells]), "x")
    answers = [list_answers(pair) for pair in strip_pairs(pairs, "x").to_dict("records")]
    assert answers == [["C", "c", "D", "é"], ["C", "c", "D's"], *[["C"]] * 3]
    assert list_answers(ROW) == ["C"]


@pytest.mark.parametrize(("n", "name"), [(1, "pair 0"), (2, "pairs 0 and 1"), (7, "pairs 0, 1, 2, 3, 4 and 2 more")])
def test_pairs_are_named(n: int, name: str) -> None:
    assert name_pairs(range(n)) == f"prompt {name}"


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pd.DataFrame([ROW]).drop(columns="answer"), "pairs.csv has no column answer"),
        (pd.DataFrame([ROW, ROW | {"memory": " "}]), r"pairs.csv: column memory is empty in row 1"),
        (pd.DataFrame(columns=TEXT_COLUMNS), "pairs.csv has no rows"),
        (pd.DataFrame([ROW | {ALIASES: ""}, ROW | {ALIASES: "D; E"}]), "answer_aliases is no list of texts in row 1"),
        (pd.DataFrame([ROW | {ALIASES: '{"D": 1}'}]), "answer_aliases is no list of texts in row 0"),
        (
            pd.DataFrame([ROW | {"explicit_sentence": "x", "explicit_sent": "y"}]).drop(columns="explicit_prompt"),
            "pairs.csv has two columns for explicit_prompt",
        ),
    ],
)
def test_bad_tables(table: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        normalise_pairs(table, "pairs.csv")


def test_pairs_of_a_job_come_back_by_the_name_of_their_data_set(tmp_path: Path) -> None:
    tables = {}
    for name, rows in (("mine", 3), ("web", 2)):
        tables[name] = normalise_pairs(pd.DataFrame(rows * [ROW]), name)
        tables[name].insert(0, "dataset", name)
        tables[name].to_csv(tmp_path / f"{name}.csv", index=False)
    found = index_pairs([tmp_path / "web.csv", tmp_path / "mine.csv"])
    assert list(found) == ["web", "mine"]
    for name, table in tables.items():
        pd.testing.assert_frame_equal(found[name], table)
    chunks = list(iterate_pairs(tmp_path / "mine.csv", 2))
    assert [len(chunk) for chunk in chunks] == [2, 1]
    whole = read_pairs(tmp_path / "mine.csv")
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), whole)


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
