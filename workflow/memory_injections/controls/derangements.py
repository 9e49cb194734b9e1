"""Which other prompt's memory each prompt gets: a random derangement, within groups of prompts."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from memory_injections.data.entities import identify_entity


def derange_memories(memories: pd.Series, relations: pd.Series | None, seed: int) -> pd.Series:
    """Exchange memories between prompts at random so that none gets its own entity; NaN where none can.

    With `relations`, memories are exchanged between prompts of the same relation. A relation in which that is not
    possible, because more than half of its prompts share a memory, takes them from any prompt.
    """
    rng = np.random.default_rng(seed)
    anywhere = _derange_group(memories, rng)
    if relations is None:
        return anywhere
    parts = [_derange_group(group, rng) for _, group in memories.groupby(relations, sort=True)]
    return pd.concat(parts).loc[memories.index].fillna(anywhere)


def _derange_group(memories: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Derange the memories of a group of prompts.

    Prompts with the same entity stand side by side in a circle, in random order; everybody takes the memory that is a
    random number of places further on, at least as many as the largest set of equal ones has, either way round.
    """
    entities = memories.map(identify_entity)
    circle = _arrange_circle(entities, rng)
    most = int(entities.value_counts().max())
    if 2 * most > len(memories):
        return pd.Series(np.nan, index=memories.index, dtype=object)
    shift = int(rng.integers(most, len(memories) - most, endpoint=True))
    taken = memories.to_numpy()[np.roll(circle, -shift)]
    return pd.Series(taken, index=memories.index[circle]).loc[memories.index]


def _arrange_circle(entities: pd.Series, rng: np.random.Generator) -> Int[np.ndarray, " prompt"]:
    """Return the positions of prompts in random order, those with the same entity side by side."""
    codes, distinct = pd.factorize(entities)
    return np.lexsort((rng.random(len(codes)), rng.permutation(len(distinct))[codes]))
