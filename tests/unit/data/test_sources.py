"""Prompt pairs from every source that a config can name, in one form."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PAIRS, ROOT
from hub import ALWAYS, COMMIT, Fault, Hub, serve
from huggingface_hub import constants
from memory_injections.config.study import Dataset, parse_study
from memory_injections.data.prompt_pairs import TEXT_COLUMNS, normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from pydantic import TypeAdapter

HUB = {"source": "huggingface", "repo": "someone/pairs"}
SPLIT = {**HUB, "split": "test", "config": "parquet", "columns": {"memory": "entity_name"}}


def read(**source: Any) -> pd.DataFrame:
    return TypeAdapter(Dataset).validate_python(source).read_pairs()


def test_the_same_file_is_the_same_pairs_from_everywhere(pairs_hub: Hub) -> None:
    own = normalise_pairs(read_csv(PAIRS), "own")
    pd.testing.assert_frame_equal(read(source="file", path=str(PAIRS)), own)
    pd.testing.assert_frame_equal(read(**HUB, file="pairs.csv"), own)
    pd.testing.assert_frame_equal(read(**HUB, file="pairs.csv", revision=COMMIT, rows=5), own.head(5))
    content = PAIRS.read_bytes()
    with serve(files={"pairs.csv": content}) as hub:
        found = read(source="url", url=f"{hub.url}/pairs.csv", sha256=hashlib.sha256(content).hexdigest())
    pd.testing.assert_frame_equal(found, own)


def test_a_file_is_refused_alike_from_everywhere(pairs_hub: Hub, tmp_path: Path) -> None:
    heading = PAIRS.read_bytes().splitlines()[0]
    (tmp_path / "heading.csv").write_bytes(heading)
    refused = "has no rows; give at least one prompt pair"
    with pytest.raises(StudyError, match=f"^file .*heading.csv {refused}"):
        read(source="file", path=str(tmp_path / "heading.csv"))
    with pytest.raises(StudyError, match=f"^heading.csv of someone/pairs {refused}"):
        read(**HUB, file="heading.csv")
    with serve(files={"a": heading}) as hub, pytest.raises(StudyError, match=f"^{hub.url}/a {refused}"):
        read(source="url", url=f"{hub.url}/a", sha256=hashlib.sha256(heading).hexdigest())


def test_a_split_of_parquet_files_has_its_rows_as_text(pairs_hub: Hub) -> None:
    own = read_csv(PAIRS)
    for split, rows in (("train", range(4)), ("test", range(4, 7))):
        found = read(**{**SPLIT, "split": split})
        expected = own.iloc[rows].assign(answer=[str(1990 + row) for row in rows]).reset_index(drop=True)
        assert found["prompt_id"].tolist() == list(range(len(rows)))
        names = [*TEXT_COLUMNS, "topic", "relation"]
        pd.testing.assert_frame_equal(found[names], expected[names])
    assert read(**SPLIT, cluster="relation")["clustered_by"].unique() == ["relation"]


@pytest.mark.parametrize(("split", "answers"), [("train", ["007", "London"]), ("test", ["1929-05-01", "1930-06-02"])])
def test_a_split_of_json_files_keeps_texts_that_look_like_numbers(
    pairs_hub: Hub, split: str, answers: list[str]
) -> None:
    found = read(**{**SPLIT, "repo": "someone/json", "config": None, "split": split})
    assert found["answer"].tolist() == answers


def test_only_the_files_of_the_split_are_fetched(pairs_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository may hold terabytes of other splits and configurations."""

    def list_fetched() -> set[str]:
        return {request.rpartition("/")[2] for request in pairs_hub.requests if "/resolve/" in request}

    found = read(**SPLIT)
    assert list_fetched() == {"README.md", "test.parquet"}
    read(**{**SPLIT, "repo": "someone/json", "config": None, "split": "train"})
    assert list_fetched() == {"README.md", "test.parquet", "train.jsonl"}
    assert len(read(**{**SPLIT, "config": "halves"})) == 7
    assert list_fetched() == {"README.md", "test.parquet", "train.jsonl", "train.parquet"}

    del pairs_hub.requests[:]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pd.testing.assert_frame_equal(read(**SPLIT), found)
    with pytest.raises(StudyError, match=r"^Hugging Face repository someone/json cannot be reached and is not in"):
        read(**{**SPLIT, "repo": "someone/json", "config": None, "split": "test"})
    assert not pairs_hub.requests


def test_the_first_rows_of_a_large_parquet_file_come_without_the_rest(pairs_hub: Hub, tmp_path: Path) -> None:
    groups, n_rows = 40, 50
    noise = np.random.default_rng(0).bytes(groups * n_rows * 1000).hex()
    rows = {name: [f"{name} {row}" for row in range(groups * n_rows)] for name in TEXT_COLUMNS}
    rows["noise"] = [noise[2000 * row : 2000 * (row + 1)] for row in range(groups * n_rows)]
    path = tmp_path / "repo" / "pairs" / "train.parquet"
    pd.DataFrame(rows).to_parquet(path, index=False, row_group_size=n_rows)
    source = {**SPLIT, "split": "train", "columns": {}}

    first = read(**source, rows=n_rows + 1)
    assert first["memory"].tolist() == rows["memory"][: n_rows + 1]
    parts = [request for request in pairs_hub.requests if "train.parquet bytes=" in request]
    sizes = [int(last) - int(begin) + 1 for begin, last in (part.rpartition("=")[2].split("-") for part in parts)]
    assert 0 < sum(sizes) < path.stat().st_size / 4
    assert not any(request.endswith("train.parquet") for request in pairs_hub.requests if request.startswith("GET"))

    pairs_hub.faults = [Fault("/tree/c0ffee0000000000000000000000000000000000/pairs", ALWAYS, 404)]
    pd.testing.assert_frame_equal(read(**source, rows=n_rows + 1), first)
    assert read(**source, incomplete="skip", rows=2)["prompt_id"].tolist() == [0, 1]


def test_a_split_of_several_files_is_read_no_further_than_its_rows(pairs_hub: Hub) -> None:
    assert len(read(**{**SPLIT, "config": "halves"}, rows=2)) == 2
    assert not any("train.parquet" in request for request in pairs_hub.requests)
    assert read(**{**SPLIT, "config": "halves"}, rows=6)["prompt_id"].tolist() == list(range(6))


def test_a_split_may_be_a_csv_file(pairs_hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "json" / "dev.csv").write_bytes(PAIRS.read_bytes())
    (tmp_path / "json" / "train.jsonl").unlink()
    (tmp_path / "json" / "test.jsonl").unlink()
    found = read(source="huggingface", repo="someone/json", split="validation")
    pd.testing.assert_frame_equal(found, read(source="file", path=str(PAIRS)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "dev"}, r"split dev of someone/pairs cannot be found \(splits: train, test\); give `split` and"),
        ({"config": "csv"}, r"split test of someone/pairs cannot be found \(.*'csv' not found.*\); give `split` and"),
        ({"config": None}, r"split test of someone/pairs cannot be found \(Config name is missing.*\); give `split`"),
        ({"columns": {"memory": "name"}}, r"has no text in a column name \(but in .*entity_name.*\); correct `col"),
        ({"columns": {}}, r"has no column memory \(it has"),
        ({"columns": {"memory": "score"}}, "has no text in a column score"),
        ({"revision": "v2"}, "someone/pairs does not have the revision"),
        ({"repo": "someone/nothing"}, "someone/nothing does not exist or is private"),
        ({"split": None, "config": None, "columns": {}, "file": "a.csv"}, "lacks the file a.csv; correct `file`"),
        ({"cluster": "theme"}, "has no column theme"),
    ],
)
def test_a_table_of_the_hub_that_is_not_there(pairs_hub: Hub, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        read(**{**SPLIT, **changes})


def test_a_cluster_has_a_name_in_every_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{','.join(TEXT_COLUMNS)},topic\na,b,c,d,x\na,b,c,d, \n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"a.csv: column topic is empty in row 1"):
        read(source="file", path=str(tmp_path / "a.csv"), cluster="topic")


def test_columns_of_the_studys_own_names_are_made_anew(tmp_path: Path) -> None:
    """So the table that a study keeps of a data set is itself a data set."""
    own = normalise_pairs(read_csv(PAIRS), "own", rows=3, cluster="topic")
    own.assign(dataset="x", prompt_id=7).to_csv(tmp_path / "a.csv", index=False)
    assert read(source="file", path=str(tmp_path / "a.csv")).equals(own.drop(columns="clustered_by"))


def test_a_path_means_the_users_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's file that was renamed is missed; only where the whole folder is not there, it can be the workflow's."""
    monkeypatch.chdir(tmp_path)
    source = {"source": "file", "path": "resources/prompt_pairs.csv"}
    config = {"study": "a", "models": {"m": {"source": "local", "path": "m"}}, "datasets": {"d": source}}

    def resolve() -> list[str]:
        return parse_study(config, ROOT).datasets["d"].local_files()

    assert resolve() == [str(ROOT / "resources" / "prompt_pairs.csv")]
    (tmp_path / "resources").mkdir()
    assert resolve() == ["resources/prompt_pairs.csv"]
    monkeypatch.chdir(ROOT / "tests")
    source["path"] = "README.md"
    assert resolve() == ["README.md"]
