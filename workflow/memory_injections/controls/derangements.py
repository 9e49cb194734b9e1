"""Which other prompt's memory each prompt gets: random derangements, within groups of prompts."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from memory_injections.data.entities import identify_entity


def derange_memories(memories: pd.Series, relations: pd.Series | None, seed: int, number: int = 0) -> pd.Series:
    """Exchange memories between prompts at random so that none gets its own entity; NaN where none can.

    With `relations`, memories are exchanged between prompts of the same relation. A relation in which that is not
    possible, because more than half of its prompts share a memory, takes them from any prompt. `number` counts the
    exchanges of one seed from 0: in no two does a prompt take the memory of the same prompt. Where there are no more,
    it is NaN.
    """
    groups = [memories] if relations is None else [group for _, group in memories.groupby(relations, sort=True)]
    rng = np.random.default_rng(seed)
    parts = [_derange_group(group, rng, number) for group in groups if _can_be_deranged(group)]
    taken = pd.concat([*parts, pd.Series(dtype=object)]).reindex(memories.index)
    others = memories.index.difference([index for part in parts for index in part.index])
    if len(others) and relations is not None and _can_be_deranged(memories):
        taken.loc[others] = _derange_group(memories, rng, number).loc[others]
    return taken


def _count_most(memories: pd.Series) -> int:
    """Return how many prompts share the entity that most have."""
    return int(memories.map(identify_entity).value_counts().max())


def _can_be_deranged(memories: pd.Series) -> bool:
    return 2 * _count_most(memories) <= len(memories)


def _derange_group(memories: pd.Series, rng: np.random.Generator, number: int) -> pd.Series:
    """Derange the memories of a group of prompts.

    Prompts with the same entity stand side by side in a circle, in random order; everybody takes the memory that is a
    random number of places further on, at least as many as the largest set of equal ones has, either way round.
    """
    circle, most = _arrange_circle(memories.map(identify_entity), rng), _count_most(memories)
    shifts = rng.permutation(np.arange(most, len(memories) - most + 1))
    if number >= len(shifts):
        return pd.Series(np.nan, index=memories.index, dtype=object)
    taken = memories.to_numpy()[np.roll(circle, -shifts[number])]
    return pd.Series(taken, index=memories.index[circle]).loc[memories.index]


def _arrange_circle(entities: pd.Series, rng: np.random.Generator) -> Int[np.ndarray, " prompt"]:
    """Return the positions of prompts in random order, those with the same entity side by side."""
    codes, distinct = pd.factorize(entities)
    return np.lexsort((rng.random(len(codes)), rng.permutation(len(distinct))[codes]))
