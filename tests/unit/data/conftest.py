"""A hub on loopback: a data set with a CSV file and Parquet files of two splits, and one with JSON files."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import PAIRS
from hub import DATA, Hub, serve
from huggingface_hub import constants

# As a repository's page names its configurations.
PAGE = """---
configs:
- config_name: parquet
  data_files:
  - {split: train, path: pairs/train.parquet}
  - {split: test, path: pairs/test.parquet}
- config_name: halves
  data_files:
  - {split: test, path: "pairs/*.parquet"}
---
"""
JSON = "datasets/someone/json"


@pytest.fixture
def pairs_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub for the clients of this process, with an empty cache."""
    folder, other = tmp_path / "repo", tmp_path / "json"
    for path in (folder / "pairs", other):
        path.mkdir(parents=True)
    table = pd.read_csv(PAIRS, dtype=str, keep_default_na=False).head(7)
    table = table.rename(columns={"memory": "entity_name"}).assign(answer=range(1990, 1997), score=0.5)
    table.head(4).to_parquet(folder / "pairs" / "train.parquet", index=False)
    table.tail(3).to_parquet(folder / "pairs" / "test.parquet", index=False)
    for name, answers in (("train", ["007", "London"]), ("test", ["1929-05-01", "1930-06-02"])):
        table.tail(2).assign(answer=answers).to_json(other / f"{name}.jsonl", orient="records", lines=True)
    (folder / "README.md").write_text(PAGE, encoding="utf-8")
    (folder / "pairs.csv").write_bytes(PAIRS.read_bytes())
    (folder / "heading.csv").write_text(PAIRS.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve({DATA: folder, JSON: other}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub
