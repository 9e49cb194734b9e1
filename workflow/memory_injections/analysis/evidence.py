"""Evidence on best sites: held-out prompts, bootstrap intervals, and paired tests against random memories.

The authors choose the best site on the prompts on which they report it (paper, section 4), which flatters it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control

from memory_injections.analysis.averages import (
    AVERAGES,
    average_sites,
    compare_pairs,
    find_best_site,
    measure_change,
    select_site,
)
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED

N_SPLITS = 100
N_RESAMPLES = 2000
LEVEL = 0.05
COLUMNS = ["prompt_id", "layer", "magnitude", "p_obscure", "p_injected", "logp_injected"]
BEST_BY: dict[str, Callable[..., Any]] = {"mean": np.nanmean, "median": np.nanmedian}
TESTED = ["memories", "n_sites", "n_better", "n_worse", "site", "layer", "magnitude", "difference", "q"]
Changes = Float[np.ndarray, "prompt site"]


def assess_robustness(cells: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Evaluate the best sites of one sweep on other prompts, in percent change.

    Columns: best_by, layer, magnitude; chosen_on_all, the average at the site chosen on all prompts, as the authors
    choose it; held_out, the same average at the site that is best on a random half of the prompts, evaluated on the
    other half: its mean over `N_SPLITS` splits, with their 5 % and 95 % quantiles (`held_out_low`, `held_out_high`);
    for each of the four averages at the site chosen on all prompts, `<average>_low` and `<average>_high`, a 95 %
    percentile bootstrap interval over prompts; improved, the share of the `n_prompts` prompts whose answer becomes more
    probable there. Prompts whose answer was impossible before, in float32, have no percent change and do not count.
    """
    sites = average_sites(cells)
    changes = _tabulate_changes(cells)
    rows = []
    for average in BEST_BY:
        layer, magnitude = find_best_site(sites, average)
        here = select_site(cells, layer, magnitude)
        change = measure_change(here).dropna()
        rows.append(
            {
                "best_by": average,
                "layer": layer,
                "magnitude": magnitude,
                "chosen_on_all": sites.loc[(layer, magnitude), average],
                **hold_out(changes, average, np.random.default_rng(seed)),
                **bootstrap_intervals(here, np.random.default_rng(seed)),
                "improved": float((change > 0).mean()),
                "n_prompts": len(change),
            }
        )
    return pd.DataFrame(rows)


def _tabulate_changes(cells: pd.DataFrame) -> Changes:
    table = cells[["prompt_id", "layer", "magnitude"]].assign(change=measure_change(cells))
    return table.pivot(index="prompt_id", columns=["layer", "magnitude"], values="change").to_numpy()


def hold_out(changes: Changes, average: str, rng: np.random.Generator) -> dict[str, float]:
    """Choose the best site on a random half of the prompts and average it on the other half, over many splits.

    Missing where a half has no prompts.
    """
    of, n_prompts = BEST_BY[average], len(changes)
    found = []
    for _ in range(N_SPLITS if n_prompts > 1 else 0):
        order = rng.permutation(n_prompts)
        chosen, other = changes[order[: n_prompts // 2]], changes[order[n_prompts // 2 :]]
        on_half = of(chosen, axis=0)
        if not np.isnan(on_half).all():
            found.append(of(other[:, np.nanargmax(on_half)]))
    low, high = np.quantile(found, [0.05, 0.95]) if found else (np.nan, np.nan)
    return {
        "held_out": float(np.mean(found)) if found else np.nan,
        "held_out_low": float(low),
        "held_out_high": float(high),
    }


def bootstrap_intervals(here: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Return a 95 % percentile bootstrap interval over prompts for each average at one site, in percent."""
    before, after = (here[name].to_numpy(dtype="float64") for name in ("p_obscure", "p_injected"))
    possible = before > 0
    before, after = before[possible], after[possible]
    if not len(before):
        return {f"{name}_{end}": np.nan for name in AVERAGES for end in ("low", "high")}
    drawn = rng.integers(len(before), size=(N_RESAMPLES, len(before)))
    change = np.sort(100 * (after / before - 1)[drawn], axis=1)
    resampled = {
        "mean": change.mean(axis=1),
        "mean_without_top": change[:, : max(1, change.shape[1] * 99 // 100)].mean(axis=1),
        "median": np.median(change, axis=1),
        "ratio_of_means": 100 * (after[drawn].mean(axis=1) / before[drawn].mean(axis=1) - 1),
    }
    return {
        f"{name}_{end}": float(np.quantile(resampled[name], quantile))
        for name in AVERAGES
        for end, quantile in (("low", LEVEL / 2), ("high", 1 - LEVEL / 2))
    }


def compare_with_random(
    curated: pd.DataFrame, random: Mapping[str, Path], reported: tuple[int, float] | None = None
) -> pd.DataFrame:
    """Test curated against random memories, prompt by prompt, at every site that both have.

    At each site a two-sided Wilcoxon signed-rank test of the prompts' log-probabilities of the answer after the
    injection, curated minus random; over the sites of a pair of sweeps, Benjamini-Hochberg's false discovery rate is
    held at 5 %. Columns: memories, n_sites, n_better and n_worse (sites where curated memories are significantly
    better or worse), and at some sites of interest (`site`: the curated memories' best mean, their best median, the
    one that the authors report) layer, magnitude, difference (median of the differences, in nats) and q (adjusted
    p-value), missing where the random memories do not have the site.
    """
    averages = average_sites(curated)
    sites = {f"best {average}": find_best_site(averages, average) for average in BEST_BY}
    if reported is not None and reported in averages.index:
        sites["the authors'"] = reported
    rows = []
    for memories, path in random.items():
        tests = _test_sites(curated, pd.read_parquet(path, columns=COLUMNS))
        significant = tests["q"] < LEVEL
        counts = {
            "memories": memories,
            "n_sites": len(tests),
            "n_better": int((significant & (tests["difference"] > 0)).sum()),
            "n_worse": int((significant & (tests["difference"] < 0)).sum()),
        }
        for name, site in sites.items():
            found = tests.loc[site] if site in tests.index else pd.Series(dtype=float)
            at = {"site": name, "layer": site[0], "magnitude": site[1]}
            rows.append({**counts, **at, "difference": found.get("difference"), "q": found.get("q")})
    return pd.DataFrame(rows, columns=TESTED)


def _test_sites(curated: pd.DataFrame, random: pd.DataFrame) -> pd.DataFrame:
    """Return median difference and adjusted p-value of every site that both sweeps have, by (layer, magnitude)."""
    key = ["layer", "magnitude", "prompt_id"]
    after = curated[[*key, "logp_injected"]].merge(random[[*key, "logp_injected"]], on=key, suffixes=("", "_random"))
    after["difference"] = after["logp_injected"].astype("float64") - after["logp_injected_random"]
    # Two answers with probability zero in float32 do not differ.
    after["difference"] = after["difference"].fillna(0)
    by_site = after.groupby(["layer", "magnitude"])["difference"]
    tests = pd.DataFrame({"difference": by_site.median(), "q": by_site.agg(compare_pairs)})
    if len(tests):
        tests["q"] = false_discovery_control(tests["q"])
    return tests


def assess_sweeps(
    sweeps: Mapping[SweepId, Path], reported: Mapping[SweepId, tuple[int, float] | None], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `assess_robustness` of every sweep and `compare_with_random` of every curated one, sweeps named first."""
    robust, tested = [], []
    for sweep, path in sweeps.items():
        cells = pd.read_parquet(path, columns=COLUMNS)
        robust.append(assess_robustness(cells, seed).assign(**sweep.columns))
        if sweep.memories == CURATED:
            random = {other.memories: sweeps[other] for other in sweep.other_memories(sweeps)}
            table = compare_with_random(cells, random, reported[sweep])
            tested.append(table.assign(model=sweep.model, dataset=sweep.dataset, encoding=sweep.encoding))
    return _put_sweep_first(robust), _put_sweep_first(tested)


def _put_sweep_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables) if tables else pd.DataFrame(columns=TESTED)
    first = ["model", "dataset", "encoding", "memories"]
    return table.reindex(columns=[*first, *table.columns.drop(first, errors="ignore")])
