"""Averages over the prompts of a site, in percent and in nats, and best sites (paper, section 4).

The paper averages percent changes, which a few prompts with a tiny `p_obscure` dominate, so every site is described by
several averages together. The evidence of this study rests on the effect in nats.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from memory_injections.errors import StudyError

# Averages of the percent change; the first is the paper's.
AVERAGES = {
    "mean_within_2sd": "mean within 2 sd",
    "mean": "mean",
    "mean_without_top": "mean without the top 1 %",
    "median": "median",
    "ratio_of_means": "ratio of means",
}
PAPER_AVERAGE = "mean_within_2sd"
# Averages of the effect, in nats; the first is the one that the evidence rests on.
EFFECTS = {"effect": "mean effect", "effect_median": "median effect"}
# Beyond these numbers of standard deviations, the paper's average drops a percent change.
N_DEVIATIONS = 2
# The least log-probability that float32 can express, in place of -inf for an answer with probability zero.
LEAST_LOGP = float(np.log(np.finfo(np.float32).smallest_subnormal))
Values = Float[np.ndarray, "prompt site"]


def measure_change(cells: pd.DataFrame) -> pd.Series:
    """Return 100 (p_injected - p_obscure) / p_obscure of every cell, in percent; missing where p_obscure is zero."""
    before = cells["p_obscure"].astype("float64")
    return 100 * (cells["p_injected"] / before.where(before > 0) - 1)


def measure_effect(cells: pd.DataFrame) -> pd.Series:
    """Return log p_injected - log p_obscure of every cell, in nats; zero counts as float32's least probability."""
    before, after = (cells[name].astype("float64").clip(lower=LEAST_LOGP) for name in ("logp_obscure", "logp_injected"))
    return after - before


def tabulate(cells: pd.DataFrame, measure: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """Return a measure of all cells of a sweep, with a row for each prompt and a column for each (layer, magnitude).

    Cells that the sweep does not have are missing. Raises `ValueError` if it has one twice.
    """
    return tabulate_all(cells, {"value": measure})["value"]


def tabulate_all(
    cells: pd.DataFrame, measures: Mapping[str, Callable[[pd.DataFrame], pd.Series]]
) -> dict[str, pd.DataFrame]:
    """Return a table like that of `tabulate` for each measure, by its name."""
    prompt, prompts = pd.factorize(cells["prompt_id"], sort=True)
    layer, layers = pd.factorize(cells["layer"], sort=True)
    magnitude, magnitudes = pd.factorize(cells["magnitude"], sort=True)
    found, site = np.unique(layer * len(magnitudes) + magnitude, return_inverse=True)
    if np.bincount(prompt * len(found) + site, minlength=1).max() > 1:
        raise ValueError("the table has a cell twice")
    sites = pd.MultiIndex.from_arrays(
        [layers[found // len(magnitudes)], magnitudes[found % len(magnitudes)]], names=["layer", "magnitude"]
    )
    tables = {}
    for name, measure in measures.items():
        values = np.full((len(prompts), len(sites)), np.nan, order="F")
        values[prompt, site] = measure(cells)
        tables[name] = pd.DataFrame(values, index=pd.Index(prompts, name="prompt_id"), columns=sites)
    return tables


def keep_within_2sd(changes: Values) -> Bool[np.ndarray, "prompt site"]:
    """Mark the values that the paper's average keeps: at most 2 standard deviations from their mean, per column."""
    distance = np.abs(changes - np.nanmean(changes, axis=0))
    return distance <= N_DEVIATIONS * np.nanstd(changes, axis=0)


def average_sites(cells: pd.DataFrame) -> pd.DataFrame:
    """Average over the prompts of every (layer, magnitude), the index of the table that is returned.

    Of the percent changes, in percent:

    - mean_within_2sd: mean of those at most two standard deviations from their mean (the paper's average)
    - mean: of all
    - mean_without_top: mean without the largest 1 %, rounded up to whole prompts
    - median: of all
    - ratio_of_means: change of the mean probability

    Of the effects, in nats: effect, their mean, and effect_median. Also n_improved, the prompts whose answer becomes
    more probable, out of n_prompts. Prompts whose answer had probability zero in float32 have no percent change.
    """
    measures: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "changes": measure_change,
        "effects": measure_effect,
        "before": itemgetter("p_obscure"),
        "after": itemgetter("p_injected"),
    }
    tables = tabulate_all(cells, measures)
    changes, effects, before, after = (tables[name].to_numpy() for name in measures)
    n_prompts = (~np.isnan(changes)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        averages = {
            "mean_within_2sd": _average_columns(np.where(keep_within_2sd(changes), changes, np.nan)),
            "mean": _average_columns(changes),
            "mean_without_top": _average_without_top(changes, n_prompts),
            "median": pd.DataFrame(changes).median().to_numpy(),
            "ratio_of_means": 100 * (np.nansum(after, axis=0) / np.nansum(before, axis=0) - 1),
            "effect": _average_columns(effects),
            "effect_median": pd.DataFrame(effects).median().to_numpy(),
        }
    table = pd.DataFrame(averages, index=tables["changes"].columns)
    return table.assign(n_improved=(changes > 0).sum(axis=0), n_prompts=n_prompts)


def _average_columns(values: Values) -> Float[np.ndarray, " site"]:
    return pd.DataFrame(values).mean().to_numpy()


def _average_without_top(changes: Values, n_prompts: np.ndarray) -> Float[np.ndarray, " site"]:
    """Average each column without its largest 1 %."""
    n_kept = n_prompts * 99 // 100
    rank = np.arange(len(changes))[:, None]
    return _average_columns(np.where(rank < n_kept, np.sort(changes, axis=0), np.nan))


def average_site(cells: pd.DataFrame) -> pd.Series:
    """Return the row of `average_sites` of the cells of one site."""
    return average_sites(cells).iloc[0]


def find_best_site(sites: pd.DataFrame, average: str) -> tuple[int, float]:
    """Return the (layer, magnitude) with the highest value of one average."""
    if sites[average].isna().all():
        raise StudyError("every answer has probability zero before injection; check the answers of the data set")
    layer, magnitude = sites[average].idxmax()
    return int(layer), float(magnitude)


def select_site(cells: pd.DataFrame, layer: int, magnitude: float) -> pd.DataFrame:
    """Return the cells of one site; none if the grid does not have it."""
    return cells[(cells["layer"] == layer) & (cells["magnitude"] == magnitude)]
