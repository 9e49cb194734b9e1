"""Averages over the prompts of a site, in percent and in nats, and best sites (paper, section 4).

The paper averages percent changes, which a few prompts with a tiny `p_obscure` dominate, so every site is described by
several averages together. The evidence of this study rests on the effect in nats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from memory_injections.errors import StudyError
from memory_injections.registry import Registry
from memory_injections.terms import LEAST_LOGP

# The columns that tell the sites of a sweep apart.
SITE = ("layer", "magnitude")
PAPER_AVERAGE = "mean_within_2sd"
# Beyond these numbers of standard deviations, the paper's average drops a percent change.
N_DEVIATIONS = 2
Values = Float[np.ndarray, "prompt site"]
# The columns of cells that averages are taken of.
AVERAGED = ["prompt_id", *SITE, "p_obscure", "p_injected", "logp_obscure", "logp_injected"]


def measure_change(cells: pd.DataFrame) -> pd.Series:
    """Return 100 (p_injected - p_obscure) / p_obscure of every cell, in percent; missing where p_obscure is zero."""
    before = cells["p_obscure"].astype("float64")
    return 100 * (cells["p_injected"] / before.where(before > 0) - 1)


def find_least(score: str) -> float:
    """Return what the log-probability of a token with probability zero counts as; a whole answer's can be any lower."""
    return LEAST_LOGP if score == "logp" else -np.inf


def measure_effect(cells: pd.DataFrame, score: str = "logp") -> pd.Series:
    """Return log p_injected - log p_obscure of every cell, in nats; zero counts as float32's least probability.

    With the score `logp_whole`, it is the effect on the whole answer.
    """
    columns = (cells[f"{score}_{when}"].astype("float64") for when in ("obscure", "injected"))
    before, after = (values.clip(lower=find_least(score)) for values in columns)
    return after - before


def tabulate(
    cells: pd.DataFrame, measure: Callable[[pd.DataFrame], pd.Series], by: Sequence[str] = SITE
) -> pd.DataFrame:
    """Return a measure of all cells of a sweep, with a row for each prompt and a column for each site.

    `by` are the columns that tell sites apart. Cells that the sweep does not have are missing. Raises `ValueError` if
    it has one twice.
    """
    return tabulate_all(cells, {"value": measure}, by)["value"]


def tabulate_all(
    cells: pd.DataFrame, measures: Mapping[str, Callable[[pd.DataFrame], pd.Series]], by: Sequence[str] = SITE
) -> dict[str, pd.DataFrame]:
    """Return a table like that of `tabulate` for each measure, by its name."""
    prompt, prompts = pd.factorize(cells["prompt_id"], sort=True)
    codes, values_of = zip(*(pd.factorize(cells[name], sort=True) for name in by), strict=True)
    shape = [len(known) for known in values_of]
    found, site = np.unique(np.ravel_multi_index(codes, shape), return_inverse=True)
    if np.bincount(prompt * len(found) + site, minlength=1).max() > 1:
        raise ValueError("the table has a cell twice")
    sites = pd.MultiIndex.from_arrays(
        [known[code] for known, code in zip(values_of, np.unravel_index(found, shape), strict=True)], names=list(by)
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


@dataclass(frozen=True)
class SiteValues:
    """What the averages of sites are made of: percent changes, effects in nats, and probabilities before and after.

    Prompts whose answer had probability zero in float32 have no percent change.
    """

    changes: Values
    effects: Values
    before: Values
    after: Values


PerSite = Float[np.ndarray, " site"]


@dataclass(frozen=True)
class Average:
    """An average over the prompts of each site: its name, its label, its unit and the function that takes it."""

    name: str
    label: str
    unit: Literal["%", "nats"]
    take: Callable[[SiteValues], PerSite]


REGISTERED: Registry[Average] = Registry("average")


def average(
    label: str, unit: Literal["%", "nats"]
) -> Callable[[Callable[[SiteValues], PerSite]], Callable[[SiteValues], PerSite]]:
    """Register an average; the function's name is the average's. The first of each unit is the one that counts."""

    def register(function: Callable[[SiteValues], PerSite]) -> Callable[[SiteValues], PerSite]:
        REGISTERED.register(Average(function.__name__, label, unit, function))
        return function

    return register


@average("mean within 2 sd", "%")
def mean_within_2sd(values: SiteValues) -> PerSite:
    """The mean of the changes at most two standard deviations from their mean: the paper's average."""
    return _average_columns(np.where(keep_within_2sd(values.changes), values.changes, np.nan))


@average("mean", "%")
def mean(values: SiteValues) -> PerSite:
    """The mean of all changes."""
    return _average_columns(values.changes)


@average("mean without the top 1 %", "%")
def mean_without_top(values: SiteValues) -> PerSite:
    """The mean without the largest 1 % of the changes, rounded up to whole prompts."""
    n_kept = (~np.isnan(values.changes)).sum(axis=0) * 99 // 100
    rank = np.arange(len(values.changes))[:, None]
    return _average_columns(np.where(rank < n_kept, np.sort(values.changes, axis=0), np.nan))


@average("median", "%")
def median(values: SiteValues) -> PerSite:
    """The median of all changes."""
    return pd.DataFrame(values.changes).median().to_numpy()


@average("ratio of means", "%")
def ratio_of_means(values: SiteValues) -> PerSite:
    """The change of the mean probability."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * (np.nansum(values.after, axis=0) / np.nansum(values.before, axis=0) - 1)


@average("mean effect", "nats")
def effect(values: SiteValues) -> PerSite:
    """The mean effect, which the evidence rests on."""
    return _average_columns(values.effects)


@average("median effect", "nats")
def effect_median(values: SiteValues) -> PerSite:
    """The median effect."""
    return pd.DataFrame(values.effects).median().to_numpy()


# The labels of the averages of percent changes, and of those of effects.
AVERAGES, EFFECTS = (
    {name: own.label for name, own in REGISTERED.items() if own.unit == unit} for unit in ("%", "nats")
)


def average_sites(cells: pd.DataFrame) -> pd.DataFrame:
    """Average over the prompts of every (layer, magnitude), the index of the table that is returned.

    Columns: every registered average; n_improved, the prompts whose answer becomes more probable, out of n_prompts,
    those that have a percent change.
    """
    tables = tabulate_all(
        cells,
        {
            "changes": measure_change,
            "effects": measure_effect,
            "before": itemgetter("p_obscure"),
            "after": itemgetter("p_injected"),
        },
    )
    values = SiteValues(**{name: table.to_numpy() for name, table in tables.items()})
    averages = {name: own.take(values) for name, own in REGISTERED.items()}
    return pd.DataFrame(averages, index=tables["changes"].columns).assign(
        n_improved=(values.changes > 0).sum(axis=0), n_prompts=(~np.isnan(values.changes)).sum(axis=0)
    )


def _average_columns(values: Values) -> PerSite:
    return pd.DataFrame(values).mean().to_numpy()


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
