"""The history of the headline: what each rule of averaging makes of the sites that the paper reports.

The authors averaged the percent changes by three rules within 17 days. The last one, the paper's, drops the changes
that are more than 2 standard deviations from their mean. Applied again to what is left, it gives ever smaller numbers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from memory_injections.analysis.averages import (
    AVERAGES,
    PAPER_AVERAGE,
    average_sites,
    keep_within_2sd,
    measure_change,
    select_site,
)
from memory_injections.paper.reported import find_reported_site, find_reported_value
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED

# The authors' three rules in the order of their history, and two averages that no single prompt dominates.
RULES = ["mean_without_top", "mean", PAPER_AVERAGE, "median", "ratio_of_means"]
# How often the paper's rule is applied to what it keeps.
MOST_TIMES = 6
N_LARGEST = 10
CELLS = ["prompt_id", "layer", "magnitude", "memory", "p_obscure", "p_injected", "logp_obscure", "logp_injected"]
SITE = ["model", "dataset", "layer", "magnitude"]
HEADLINE = [*SITE, "paper_layer", "rule", "label", "date", "value", "n_kept", "paper", "rank", "n_sites"]
PROMPT = ["prompt_id", "memory", "change", "p_obscure", "p_injected", "kept", "share"]
Changes = Float[np.ndarray, " prompt"]


def trace_headline(cells: Mapping[SweepId, Path], paper: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average the percent changes at every reported site by every rule; return with it the prompts that decide.

    Columns of the averages, a row for each rule: model, dataset, layer (from 0), magnitude, paper_layer (from 1); rule
    (its key), label, date (since when the authors used it); value in percent; n_kept, the prompts that it averages;
    paper, the value that the paper reports, beside its rule; rank of the site among the n_sites of the grid by that
    rule (missing where the rule is applied more than once).

    Columns of the prompts, those with the `N_LARGEST` changes that the paper's rule keeps and those that it drops:
    model, dataset, layer, magnitude, prompt_id, memory, change in percent, p_obscure, p_injected, kept, share of the
    sum of the kept changes. Sweeps without a reported site in their grid have no rows.
    """
    averages: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    for sweep, path in sorted(cells.items()):
        site = find_reported_site(sweep, paper)
        table = pd.read_parquet(path, columns=CELLS)
        if sweep.memories != CURATED or site is None or select_site(table, *site).empty:
            continue
        key = dict(zip(SITE, (sweep.model, sweep.dataset, *site), strict=True))
        known = {"paper_layer": site[0] + 1}
        reported = {PAPER_AVERAGE: find_reported_value(sweep, paper)}
        for row in (*_average_by_rules(table, site), *_iterate_paper_rule(select_site(table, *site))):
            rule = row["rule"]
            averages.append({**key, **known, **row, "date": paper["rules"].get(rule), "paper": reported.get(rule)})
        prompts += [{**key, **row} for row in _find_deciding_prompts(select_site(table, *site))]
    counts = dict.fromkeys(("n_kept", "rank", "n_sites"), "Int64")
    return pd.DataFrame(averages, columns=HEADLINE).astype(counts), pd.DataFrame(prompts, columns=[*SITE, *PROMPT])


def _average_by_rules(table: pd.DataFrame, site: tuple[int, float]) -> Iterator[dict[str, Any]]:
    """Average one site of a sweep by each of `RULES`, and rank it in the grid."""
    sites = average_sites(table)
    n_prompts = int(sites.loc[site, "n_prompts"])
    kept = _keep(_list_changes(select_site(table, *site)))
    n_kept = {"mean_without_top": n_prompts * 99 // 100, PAPER_AVERAGE: int(kept.sum())}
    for rule in RULES:
        yield {
            "rule": rule,
            "label": AVERAGES[rule],
            "value": sites.loc[site, rule],
            "n_kept": n_kept.get(rule, n_prompts),
            "rank": int(sites[rule].rank(ascending=False, method="min")[site]),
            "n_sites": len(sites),
        }


def _iterate_paper_rule(here: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Apply the paper's rule to what it keeps, twice and more."""
    changes = _list_changes(here)
    changes = changes[_keep(changes)]
    for times in range(2, MOST_TIMES + 1):
        changes = changes[_keep(changes)]
        yield {
            "rule": f"{PAPER_AVERAGE}_{times}_times",
            "label": f"{AVERAGES[PAPER_AVERAGE]}, {times} times",
            "value": changes.mean(),
            "n_kept": len(changes),
        }


def _list_changes(here: pd.DataFrame) -> Changes:
    return measure_change(here).to_numpy("float64")


def _keep(changes: Changes) -> Bool[np.ndarray, " prompt"]:
    """Mark the changes that the paper's average keeps."""
    return keep_within_2sd(changes[:, None])[:, 0]


def _find_deciding_prompts(here: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the prompts with the largest changes that the paper's rule keeps, and those that it drops."""
    prompts = here.assign(change=_list_changes(here), memory=here["memory"].astype(str)).dropna(subset="change")
    prompts["kept"] = _keep(prompts["change"].to_numpy())
    kept = prompts.loc[prompts["kept"], "change"]
    prompts["share"] = kept / kept.sum()
    shown = prompts[~prompts["kept"] | prompts.index.isin(kept.nlargest(N_LARGEST).index)]
    return shown.sort_values("change", ascending=False)[PROMPT].to_dict("records")
