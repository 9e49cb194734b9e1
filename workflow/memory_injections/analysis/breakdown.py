"""Effects by group: a mean over all prompts can hide opposite effects of its parts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.clusters import MEMORY, align_clusters, cluster_prompts, name_relations
from memory_injections.analysis.effects import ESTIMATE, estimate_mean
from memory_injections.analysis.evidence import ID, SweepEffects
from memory_injections.data.characters import has_text
from memory_injections.data.entities import identify_entity
from memory_injections.data.group_columns import RELATION

# A group with fewer prompts is put together with the other small ones.
FEWEST_PROMPTS = 5
OTHER = "other"
COLUMNS = [
    *ID, "by", "group", *ESTIMATE, "share_improved", "effect_reported", "contrast", "contrast_low", "contrast_high",
]  # fmt: skip


def read_groups(pairs: pd.DataFrame, column: str) -> pd.Series | None:
    """Return each prompt's text in a column, by prompt_id; None if the data set lacks it.

    A `RELATION` that the data set lacks is made from its prompts. The same text in other letters is the same.
    """
    if column in pairs:
        texts = pairs.set_index("prompt_id")[column]
        texts = texts.where(texts.map(has_text), OTHER)
        return texts.groupby(texts.map(identify_entity)).transform("first")
    return name_relations(pairs) if column == RELATION else None


def break_down(
    sweep: SweepEffects,
    pairs: pd.DataFrame,
    by: Sequence[str],
    reported: tuple[int, float] | None = None,
    contrasts: pd.Series | None = None,
) -> Iterator[dict[str, Any]]:
    """Estimate the effect of a sweep, at the sites chosen for each prompt, in each group of each column in `by`.

    effect_reported is the group's mean effect at the site that the paper reports; contrast, with its interval, that of
    `contrasts`, by prompt: how much more the memory does than shuffled ones. Groups of fewer than `FEWEST_PROMPTS`
    prompts are put together; there are no rows if that leaves one group only. Prompts are clustered as everywhere or,
    where each group lies within one cluster, by memory.
    """
    for column in by:
        groups = read_groups(pairs, column)
        if groups is None or sweep.frame.empty:
            continue
        groups = groups.loc[sweep.frame.index]
        clusters = align_clusters(cluster_prompts(pairs), groups.index)
        if clusters.groupby(groups).nunique().max() == 1:
            clusters = pairs.set_index("prompt_id")[MEMORY].map(identify_entity).loc[groups.index]
        groups = groups.where(groups.map(groups.value_counts()) >= FEWEST_PROMPTS, OTHER)
        for group, effects in sweep.effects.groupby(groups) if groups.nunique() > 1 else ():
            at_reported = sweep.frame.get(reported) if reported else None
            yield {
                "by": column,
                "group": group,
                **_estimate(effects, clusters, sweep.seed),
                "share_improved": (effects > 0).mean(),
                "effect_reported": np.nan if at_reported is None else at_reported.loc[effects.index].mean(),
                **_contrast(contrasts, effects.index, clusters, sweep.seed),
            }


def _estimate(effects: pd.Series, clusters: pd.Series, seed: int) -> dict[str, float]:
    return estimate_mean(effects.to_numpy(), pd.factorize(clusters.loc[effects.index])[0], seed).columns


def _contrast(contrasts: pd.Series | None, prompts: pd.Index, clusters: pd.Series, seed: int) -> dict[str, float]:
    if contrasts is None:
        return {}
    found = _estimate(contrasts.loc[contrasts.index.intersection(prompts)], clusters, seed)
    return {"contrast": found["effect"], "contrast_low": found["low"], "contrast_high": found["high"]}
