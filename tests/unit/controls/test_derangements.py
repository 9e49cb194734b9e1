"""Memories are exchanged between prompts so that none keeps its own."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from memory_injections.controls.derangements import derange_memories
from memory_injections.controls.kinds import CONTROLS, Draw
from memory_injections.data.entities import identify_entity


@pytest.mark.parametrize("seed", range(20))
def test_no_prompt_keeps_a_memory_with_its_own_text(seed: int) -> None:
    rng = np.random.default_rng(seed)
    memories = pd.Series(rng.choice([*"abcdéfghijk", " A", "B\u200b", "E\u0301"], size=40), index=rng.permutation(40))
    relations = pd.Series(np.repeat(["r", "s"], 20), index=rng.permutation(40))
    for groups in (None, relations):
        taken = derange_memories(memories, groups, seed)
        assert list(taken.index) == list(memories.index)
        assert not (taken.map(identify_entity) == memories.map(identify_entity)).any()
    same = relations.loc[memories.index]
    for relation in ("r", "s"):  # a derangement: every memory is taken once, and stays in its relation
        own = same == relation
        assert sorted(taken[own]) == sorted(memories[own])


PAIRS = pd.DataFrame(
    {
        "memory": ["Ada", "ada", "Marie Curie", "Jose\u0301", "José", "Bob", "Eve", "Zoë", "ZOË ", "Kim"],
        "entity": ["the sea", "ADA\u200b", "\u200b", "José ", "a poet", "bob", "Eva", "", "zoë", "Kim Il"],
        "relation": [*"rrrrrsssss"],
    }
).assign(prompt_id=range(100, 110), explicit_prompt="x", clustered_by="relation")


def choose(control: str, seed: int, words: Sequence[str] = ()) -> pd.Series:
    """The texts that a control takes in place of the memories."""
    choose = CONTROLS[control].choose
    assert choose is not None
    return choose(PAIRS, Draw(control, 0, seed, words))


@pytest.mark.parametrize("control", ["shuffled", "matched_words", "other_entity"])
def test_no_control_is_the_own_entity_in_other_letters(control: str) -> None:
    """Where only blanks were put aside, `shuffled` was in one of nine draws."""
    own = PAIRS.set_index("prompt_id")["memory"].map(identify_entity)
    for seed in range(100):
        taken = choose(control, seed, ["bob", "Zoe\u0308", "JOSÉ", "the"])
        assert not (taken.fillna("").map(identify_entity) == own).any()
        expected = {"shuffled": own.index, "matched_words": own.index, "other_entity": [100, 104, 106, 109]}
        assert list(taken.dropna().index) == list(expected[control])


def test_memories_stay_in_the_cluster_that_the_config_names() -> None:
    taken = choose("shuffled", 0)
    for relation in "rs":
        own = (PAIRS["relation"] == relation).to_numpy()
        assert sorted(taken[own]) == sorted(PAIRS["memory"][own])


def test_half_of_the_prompts_may_share_a_memory_but_not_more() -> None:
    half = pd.Series(["a", "a", "b", "c"])
    assert sorted(derange_memories(half, None, 0)[:2]) == ["b", "c"]
    assert derange_memories(pd.Series(["a", "a", "a", "c"]), None, 0).isna().all()
    assert derange_memories(pd.Series(["a"]), None, 0).isna().all()


def test_a_relation_without_a_derangement_takes_memories_from_others() -> None:
    memories = pd.Series(["a", "a", "b", "c", "d", "e"])
    relations = pd.Series(["r", "r", "s", "s", "s", "s"])
    taken = derange_memories(memories, relations, 0)
    assert set(taken[:2]) <= {"b", "c", "d", "e"}
    assert sorted(taken[2:]) == ["b", "c", "d", "e"]


def test_the_exchanges_of_one_seed_give_every_other_memory_once() -> None:
    memories = pd.Series([f"m{number}" for number in range(12)])
    taken = pd.concat([derange_memories(memories, None, 3, number) for number in range(12)], axis=1, ignore_index=True)
    assert taken[11].isna().all()
    assert (taken.nunique(axis=1) == 11).all()
    relations = pd.Series(["r", "s", "t"] * 4)
    within = [derange_memories(memories, relations, 3, number) for number in range(4)]
    assert [exchange.isna().any() for exchange in within] == [False, False, False, True]
    assert all((relations.loc[exchange.str[1:].astype(int)].to_numpy() == relations).all() for exchange in within[:3])


def test_draws_differ_by_their_seed_only() -> None:
    memories = pd.Series([f"m{number}" for number in range(30)])
    first, again, other = (derange_memories(memories, None, seed) for seed in (0, 0, 1))
    pd.testing.assert_series_equal(first, again)
    assert (first != other).sum() > 20
