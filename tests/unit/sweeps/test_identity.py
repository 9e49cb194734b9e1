"""The identity of a sweep, as a path and as columns."""

import pytest
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId, find_other_memories


@pytest.mark.parametrize(
    "path",
    ["gpt2/hand/curated.unembed", "gpt-neo-1.3B/2wmh/top_5000_words.layer", "a/b.c/d.embed", "a/b/c.embed_relative"],
)
def test_a_path_and_back(path: str) -> None:
    sweep = SweepId.from_path(path)
    assert sweep.path == path
    assert SweepId(**sweep.columns) == sweep
    assert list(sweep.columns) == ID_COLUMNS == ["model", "dataset", "memories", "encoding", "relative"]


def test_other_memories_are_those_of_the_same_model_data_and_encoding() -> None:
    own = SweepId("m", "d", "curated", "unembed")
    others = [SweepId("m", "d", memories, "unembed") for memories in ("adverbs", "nouns")]
    strangers = [SweepId("n", "d", "nouns", "unembed"), SweepId("m", "e", "nouns", "unembed"),
                 SweepId("m", "d", "nouns", "layer")]  # fmt: skip
    assert find_other_memories([*reversed(others), own, *strangers])[own] == others
