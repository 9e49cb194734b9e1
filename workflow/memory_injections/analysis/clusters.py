"""Clusters of prompts: prompts that share an entity or a relation are not independent."""

import re
from collections.abc import Sequence

import pandas as pd

from memory_injections.data.entities import find_entity, identify_entity
from memory_injections.data.prompt_pairs import CLUSTERED_BY
from memory_injections.errors import StudyError

# A data set is made of relations, rather than of single sentences, if its average last hop has this many prompts.
PROMPTS_PER_HOP = 10
MEMORY, LAST_HOP = "memory", "last hop"
# The first article behind the entity, and what follows; behind a mere "is" it is all that is asked.
ASKED_FOR = re.compile(r"(?<=\w)(?<!… is)(?<!… are)(?<!… was)(?<!… were)(?<!… has)(?<!… had) (?:the|a|an)\b[^…]*$")


def name_last_hops(pairs: pd.DataFrame) -> pd.Series:
    """Return what each explicit prompt asks of its entity, such as "The place of birth of … is", by `prompt_id`.

    What is asked in other letters has the name that it has first.
    """
    hops = [
        " ".join(_leave_out(prompt, find_entity(prompt, memory)).split())
        for prompt, memory in zip(pairs["explicit_prompt"], pairs["memory"], strict=True)
    ]
    names = pd.Series(hops, index=pd.Index(pairs["prompt_id"], name="prompt_id"), name=LAST_HOP)
    return names.groupby(names.map(identify_entity)).transform("first")


def name_relations(pairs: pd.DataFrame) -> pd.Series:
    """Return the last hop of each explicit prompt without the kind of thing it asks for, by `prompt_id`.

    That is what an article and the words behind it say: "… was born in the city of" becomes "… was born in".
    """
    hops = name_last_hops(pairs)
    names = hops.str.replace(ASKED_FOR, "", regex=True)
    return names.groupby(names.map(identify_entity)).transform("first").rename("relation")


def _leave_out(text: str, parts: Sequence[tuple[int, int]]) -> str:
    starts, stops = [start for start, _ in parts], [stop for _, stop in parts]
    return "…".join(text[stop:start] for stop, start in zip([0, *stops], [*starts, len(text)], strict=True))


def cluster_prompts(pairs: pd.DataFrame) -> pd.Series:
    """Return the cluster of each prompt by `prompt_id`; the name of the series says what the clusters are.

    Prompts are clustered by the column that the data set's config names (`CLUSTERED_BY`). Without one, they are
    clustered by their last hop if the data set is verbalised from a few relations, as 2WMH is, and by their memory
    otherwise. The same text in other letters makes the same cluster.
    """
    column = MEMORY
    if CLUSTERED_BY in pairs:
        column = str(pairs[CLUSTERED_BY].iloc[0])
    else:
        hops = name_last_hops(pairs)
        if len(hops) >= PROMPTS_PER_HOP * hops.nunique():
            return hops
    return pairs.set_index("prompt_id")[column].map(identify_entity).rename(column)


def align_clusters(clusters: pd.Series, prompt_ids: pd.Index) -> pd.Series:
    """Return the clusters of some prompts, in their order; raises `StudyError` if one has none."""
    missing = prompt_ids.difference(clusters.index)
    if len(missing):
        raise StudyError(f"prompt {missing[0]} is in the cells, but not in the prompt pairs; run the study again")
    return clusters.loc[prompt_ids]
