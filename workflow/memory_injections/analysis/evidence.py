"""Evidence on sweeps: effects at sites chosen on other prompts, tests over the grid, and contrasts with random words.

The authors choose the best site on the prompts on which they report it (paper, section 4), which flatters it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from memory_injections.analysis.averages import SITE, average_sites, measure_effect, tabulate
from memory_injections.analysis.clusters import align_clusters, cluster_prompts
from memory_injections.analysis.effects import (
    ESTIMATE,
    LEVEL,
    Clusters,
    Effects,
    adjust_over_grid,
    bound_sites,
    choose_sites,
    estimate_mean,
    read_chosen,
)
from memory_injections.analysis.hits import HIT_COLUMNS, count_hits, count_hits_by_site, measure_gain_of_hits
from memory_injections.analysis.population import Counted
from memory_injections.sweeps.cells import read_cells
from memory_injections.sweeps.identity import SweepId, find_other_memories
from memory_injections.terms import ANY_ENCODING, CURATED, FIRST_TOKEN, LEAST_LOGP, PROMPT_KINDS, Outcome

logger = logging.getLogger(__name__)
COLUMNS = [
    "prompt_id", "layer", "magnitude", "p_explicit", "p_obscure", "p_injected", "logp_obscure", "logp_injected",
    "rank_obscure", "rank_injected",
]  # fmt: skip
SITE_OF_ANY = ("encoding", *SITE)
# Numbers that are means over divisions into folds have no exact test.
HITS_AT_CHOSEN = [name for name in HIT_COLUMNS if name != "p_mcnemar"]
ALL_RANDOM = "all random words"
ID = ["model", "dataset", "encoding", "relative", "memories"]
TABLES = {
    "evidence": [
        *ID, *ESTIMATE, "clusters", "n_sites", "p_above", "p_below", "chosen_encoding", "layer", "magnitude",
        "chosen_by", "best_encoding", "best_layer", "best_magnitude", "best_effect", "n_improved", *HITS_AT_CHOSEN,
        "hits_gain", "hits_low", "hits_high", "hits_p",
    ],
    "contrasts": [
        *ID, *ESTIMATE, "chosen_encoding", "layer", "magnitude", "curated_effect", "random_effect", "n_sites",
        "p_above", "p_below", "n_better", "n_worse",
    ],
    "explicit_prompts": ["model", "dataset", *ESTIMATE, "p_explicit", "p_obscure"],
}  # fmt: skip


@dataclass(frozen=True)
class SweepEffects:
    """The effects of a sweep, a row for each prompt and a column for each site, with its clusters.

    A site is a (layer, magnitude) or, where sweeps in several encodings are one, an (encoding, layer, magnitude).
    """

    frame: pd.DataFrame
    groups: pd.Series
    seed: int

    @classmethod
    def of_cells(cls, cells: pd.DataFrame, groups: pd.Series, seed: int, by: Sequence[str] = SITE) -> "SweepEffects":
        """Tabulate the cells of a sweep; `groups` are the clusters of all prompts by `prompt_id`.

        `by` are the columns that tell sites apart: `SITE`, or `SITE_OF_ANY` for sweeps in several encodings.
        """
        frame = tabulate(cells, measure_effect, by)
        whole = frame.dropna(axis="columns")
        if whole.shape != frame.shape:
            logger.warning("leaving out %d sites that not every prompt has", frame.shape[1] - whole.shape[1])
        return cls(whole, align_clusters(groups, frame.index), seed)

    @property
    def values(self) -> Effects:
        """The effects in nats."""
        return self.frame.to_numpy()

    @cached_property
    def clusters(self) -> Clusters:
        """The number of each prompt's cluster, from 0."""
        return pd.factorize(self.groups)[0]

    @cached_property
    def chosen(self) -> Int[np.ndarray, "prompt division"]:
        """The columns of the sites that other clusters choose for each prompt."""
        return choose_sites(self.values, self.clusters, self.seed)

    @cached_property
    def effects(self) -> pd.Series:
        """Each prompt's effect at the sites that other clusters choose for it."""
        return pd.Series(read_chosen(self.values, self.chosen), index=self.frame.index)

    @cached_property
    def p_above(self) -> Float[np.ndarray, " site"]:
        """Each site's p-value that the mean effect is above zero, adjusted for the grid."""
        return adjust_over_grid(self.values, self.clusters, self.seed)

    @cached_property
    def bounds(self) -> Float[np.ndarray, "site 3"]:
        """The ends of each site's own interval, and its p-value that the mean effect is below zero."""
        return bound_sites(self.values, self.clusters, self.seed)

    def name_chosen(self) -> dict[str, Any]:
        """Return the site that is chosen most often, by the columns that tell sites apart, and how often: chosen_by."""
        sites = pd.Series(self.chosen.ravel()).value_counts()
        site = zip(self.frame.columns.names, self.frame.columns[sites.index[0]], strict=True)
        return {**dict(site), "chosen_by": sites.iloc[0] / self.chosen.size}

    def select(self, sites: pd.Index, prompts: pd.Index) -> "SweepEffects":
        """Return the same with these sites and prompts only."""
        return SweepEffects(self.frame.loc[prompts, sites], self.groups.loc[prompts], self.seed)

    def keep(self, prompts: pd.Index | None) -> "SweepEffects":
        """Return the same with these prompts only; itself if there are none named."""
        return self if prompts is None else self.select(self.frame.columns, self.frame.index.intersection(prompts))


def assess_sweep(cells: pd.DataFrame, sweep: SweepEffects) -> dict[str, Any]:
    """Return a sweep's row of the table of evidence.

    effect, low, high, p, detectable: the mean effect over prompts, each at the sites that other clusters choose for it
    (`effects.estimate_mean`); chosen_encoding, layer, magnitude and chosen_by: the site chosen most often, and how
    often; p_above and p_below: see `_test_grid`; best_*: the site with the highest mean effect on all prompts, whose
    value flatters; n_improved prompts; the hits at the chosen sites, whose numbers of prompts are means over the
    divisions; and hits_gain, the change of the share of hits there, with its interval and p-value.
    """
    effects = assess_effects(sweep)
    if sweep.frame.empty:
        return effects
    return {**effects, **_count_hits_at_chosen(cells, sweep), **_estimate_gain_of_hits(cells, sweep)}


def assess_effects(sweep: SweepEffects) -> dict[str, Any]:
    """Return the part of `assess_sweep` that needs effects only; without any prompt, that there are none."""
    if sweep.frame.empty:
        none = estimate_mean(np.empty(0), np.empty(0, dtype=int), sweep.seed)
        return {**none.columns, "clusters": sweep.groups.name}
    means = sweep.frame.mean()
    best = zip(sweep.frame.columns.names, means.idxmax(), strict=True)
    return {
        **estimate_mean(sweep.effects.to_numpy(), sweep.clusters, sweep.seed).columns,
        "clusters": sweep.groups.name,
        **_test_grid(sweep),
        **_rename_encoding(sweep.name_chosen()),
        **{f"best_{name}": value for name, value in best},
        "best_effect": means.max(),
        "n_improved": int((sweep.effects > 0).sum()),
    }


def _estimate_gain_of_hits(cells: pd.DataFrame, sweep: SweepEffects) -> dict[str, float]:
    """Estimate how many more of the prompts hit after the injection than before, as a share of the prompts."""
    if cells["rank_injected"].isna().any():
        return {}
    gains = tabulate(cells, measure_gain_of_hits, sweep.frame.columns.names).loc[sweep.frame.index, sweep.frame.columns]
    found = estimate_mean(read_chosen(gains.to_numpy(), sweep.chosen), sweep.clusters, sweep.seed)
    return {"hits_gain": found.effect, "hits_low": found.low, "hits_high": found.high, "hits_p": found.p}


def _test_grid(sweep: SweepEffects) -> dict[str, float]:
    """Test a grid: p_above, that the mean is above zero at some site, and p_below, that it is below zero at every one.

    The interval of the effect at the chosen sites does not know that the choice itself varies. These tests do: the
    first is adjusted for all sites, the second is the largest p-value of all sites.
    """
    return {
        "n_sites": sweep.frame.shape[1],
        "p_above": sweep.p_above.min(),
        "p_below": sweep.bounds[:, 2].max(),
    }


def _count_hits_at_chosen(cells: pd.DataFrame, sweep: SweepEffects) -> pd.Series:
    """Count the hits of every prompt at the sites that were chosen for it, averaged over the divisions into folds."""
    n_divisions = sweep.chosen.shape[1]
    keys = sweep.frame.columns[sweep.chosen.ravel()].to_frame(index=False)
    keys["prompt_id"] = np.repeat(sweep.frame.index.to_numpy(), n_divisions)
    counted = count_hits(keys.merge(cells, on=list(keys.columns)))[HITS_AT_CHOSEN]
    return counted.where(~counted.index.str.startswith("n_"), counted / n_divisions)


def _rename_encoding(site: Mapping[str, Any]) -> dict[str, Any]:
    """Name the encoding of a site that was chosen: the column encoding says among which encodings."""
    return {"chosen_encoding" if name == "encoding" else name: value for name, value in site.items()}


def contrast_sweeps(curated: SweepEffects, random: Mapping[str, SweepEffects]) -> Iterator[dict[str, Any]]:
    """Compare curated memories with each kind of random word, and with their mean if there are several kinds.

    The contrast of a prompt is its effect minus that of the random words at the same sites, in nats; the sites are
    those that the curated memories of other clusters choose, out of those that both have; layer and magnitude are the
    one chosen most often, curated_effect and random_effect the means there. n_better and n_worse: the sites at which
    the contrast is above or below zero, each way at 2.5 %, adjusted for the grid.
    """
    everything = {**random, ALL_RANDOM: None} if len(random) > 1 else dict(random)
    for memories, one in everything.items():
        others = list(random.values()) if one is None else [one]
        sites, prompts = curated.frame.columns, curated.frame.index
        for other in others:
            sites, prompts = sites.intersection(other.frame.columns), prompts.intersection(other.frame.index)
        if len(sites) == 0 or len(prompts) == 0:
            continue
        here = curated.select(sites.sort_values(), prompts)
        baseline = np.mean([other.select(here.frame.columns, prompts).values for other in others], axis=0)
        differences = SweepEffects(here.frame - baseline, here.groups, here.seed)
        worse = adjust_over_grid(-differences.values, here.clusters, here.seed)
        site = here.name_chosen()
        del site["chosen_by"]
        yield {
            "memories": memories,
            **estimate_mean(read_chosen(differences.values, here.chosen), here.clusters, here.seed).columns,
            **_test_grid(differences),
            **_rename_encoding(site),
            "curated_effect": here.effects.mean(),
            "random_effect": read_chosen(baseline, here.chosen).mean(),
            "n_better": int((differences.p_above < LEVEL / 2).sum()),
            "n_worse": int((worse < LEVEL / 2).sum()),
        }


def compare_prompts(cells: pd.DataFrame, sweep: SweepEffects) -> dict[str, float]:
    """Estimate how much more probable the answer is after the explicit prompt than after the obscure one, in nats."""
    prompts = cells.drop_duplicates("prompt_id").set_index("prompt_id").loc[sweep.frame.index].astype("float64")
    with np.errstate(divide="ignore"):
        explicit, obscure = (np.log(prompts[f"p_{kind}"]).clip(lower=LEAST_LOGP) for kind in PROMPT_KINDS)
    estimate = estimate_mean((explicit - obscure).to_numpy(), sweep.clusters, sweep.seed)
    return {**estimate.columns, **prompts[["p_explicit", "p_obscure"]].mean()}


def describe_sites(cells: pd.DataFrame, sweep: SweepEffects) -> pd.DataFrame:
    """Return all averages of every site, its effect's own 95 % interval and adjusted p-value, and its hits."""
    intervals = pd.DataFrame(sweep.bounds[:, :2], index=sweep.frame.columns, columns=["effect_low", "effect_high"])
    intervals["p_above"] = sweep.p_above
    return average_sites(cells).join(intervals).join(count_hits_by_site(cells)).reset_index()


def assess_sweeps(
    sweeps: Mapping[SweepId, Path],
    pairs: Mapping[str, pd.DataFrame],
    seed: int,
    counted: Counted | None = None,
    outcome: Outcome = FIRST_TOKEN,
) -> dict[str, pd.DataFrame]:
    """Return the tables of evidence of a study: `sites`, and those of `TABLES`.

    `sweeps` gives the table of cells of each sweep, `pairs` the prompt pairs of each data set. Effects are on the
    answer's first token or, by the outcome `whole_answer`, on all of it. Evidence and contrasts
    are over the prompts that are `counted` (None: all); the sites, and explicit against obscure prompts, over all,
    because the first are compared with the paper's, and the second may have decided what counts. Where curated
    memories are swept in several encodings, evidence and contrasts have rows with the encoding `any`, too: there, the
    site is chosen among those of all encodings.
    """
    counted = counted or {}
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in ("sites", *TABLES)}
    groups = {dataset: cluster_prompts(table) for dataset, table in pairs.items()}
    effects: dict[SweepId, SweepEffects] = {}
    explicit: dict[tuple[str, str], dict[str, float]] = {}
    ordered = sorted(sweeps, key=lambda sweep: (sweep.model, sweep.dataset, sweep.coding, sweep.memories != CURATED))
    for sweep in ordered:
        cells = read_cells(sweeps[sweep], COLUMNS, outcome)
        every = SweepEffects.of_cells(cells, groups[sweep.dataset], seed)
        here = effects[sweep] = every.keep(counted.get((sweep.model, sweep.dataset)))
        if sweep.memories == CURATED and (sweep.model, sweep.dataset) not in explicit:
            explicit[sweep.model, sweep.dataset] = compare_prompts(cells, every)
        found = {"sites": describe_sites(cells, every), "evidence": [assess_sweep(cells, here)]}
        for name, table in found.items():
            rows[name].append(pd.DataFrame(table).assign(**sweep.columns))
    for sweep, parts in group_encodings(ordered).items():
        cells = read_any(parts, sweeps, outcome)
        every = SweepEffects.of_cells(cells, groups[sweep.dataset], seed, SITE_OF_ANY)
        effects[sweep] = every.keep(counted.get((sweep.model, sweep.dataset)))
        if sweep.memories == CURATED:
            rows["evidence"].append(pd.DataFrame([assess_sweep(cells, effects[sweep])]).assign(**sweep.columns))
    for sweep, others in find_other_memories(effects).items():
        if sweep.memories == CURATED:
            random = {other.memories: effects[other] for other in others}
            table = pd.DataFrame(contrast_sweeps(effects[sweep], random))
            rows["contrasts"].append(pd.DataFrame({**sweep.columns, **table}) if len(table) else table)
    rows["explicit_prompts"] = [
        pd.DataFrame([{"model": model, "dataset": dataset, **row}]) for (model, dataset), row in explicit.items()
    ]
    return {name: _join_tables(name, tables) for name, tables in rows.items()}


def group_encodings(sweeps: Iterable[SweepId]) -> dict[SweepId, list[SweepId]]:
    """Group sweeps that differ in their encodings only, where curated memories are swept in several.

    The keys are the sweeps in the encoding `any`; curated ones come first.
    """
    groups: dict[SweepId, list[SweepId]] = {}
    for sweep in sorted(sweeps, key=lambda sweep: (sweep.memories != CURATED, sweep)):
        groups.setdefault(replace(sweep, encoding=ANY_ENCODING), []).append(sweep)
    return {key: parts for key, parts in groups.items() if len(groups[replace(key, memories=CURATED)]) > 1}


def read_any(parts: Iterable[SweepId], sweeps: Mapping[SweepId, Path], outcome: Outcome = FIRST_TOKEN) -> pd.DataFrame:
    """Read the cells of sweeps in several encodings as those of one."""
    return pd.concat([read_cells(sweeps[part], COLUMNS, outcome).assign(encoding=part.encoding) for part in parts])


def _join_tables(name: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    joined = pd.concat(filled) if filled else pd.DataFrame(columns=TABLES.get(name, ID))
    for site in ("chosen_encoding", "best_encoding"):
        if site in TABLES.get(name, ()):
            joined[site] = joined.get(site, joined["encoding"]).fillna(joined["encoding"])
    columns = TABLES.get(name) or [*ID, *joined.columns.drop(ID)]
    return joined.reindex(columns=columns).reset_index(drop=True)
