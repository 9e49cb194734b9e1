"""Clusters of prompts: prompts that share an entity or a relation are not independent."""

import pandas as pd

from memory_injections.errors import StudyError

# A data set is made of relations, rather than of single sentences, if its average last hop has this many prompts.
PROMPTS_PER_HOP = 10
MEMORY, LAST_HOP = "memory", "last hop"


def name_last_hops(pairs: pd.DataFrame) -> pd.Series:
    """Return what each explicit prompt asks of its entity, such as "The place of birth of … is", by `prompt_id`."""
    hops = [
        " ".join(prompt.replace(memory, "…").split())
        for prompt, memory in zip(pairs["explicit_prompt"], pairs["memory"], strict=True)
    ]
    return pd.Series(hops, index=pd.Index(pairs["prompt_id"], name="prompt_id"), name=LAST_HOP)


def cluster_prompts(pairs: pd.DataFrame) -> pd.Series:
    """Return the cluster of each prompt by `prompt_id`; the name of the series says what the clusters are.

    Prompts are clustered by their last hop if the data set is verbalised from a few relations, as 2WMH is, and by
    their memory otherwise.
    """
    hops = name_last_hops(pairs)
    if len(hops) >= PROMPTS_PER_HOP * hops.nunique():
        return hops
    return pd.Series(pairs["memory"].to_numpy(), index=hops.index, name=MEMORY)


def align_clusters(clusters: pd.Series, prompt_ids: pd.Index) -> pd.Series:
    """Return the clusters of some prompts, in their order; raises `StudyError` if one has none."""
    missing = prompt_ids.difference(clusters.index)
    if len(missing):
        raise StudyError(f"prompt {missing[0]} is in the cells, but not in the prompt pairs; run the study again")
    return clusters.loc[prompt_ids]
