"""Mean effects over clustered prompts, with intervals, tests and a choice of site that does not flatter.

Effects are in nats. Clusters of prompts, not single prompts, are resampled, flipped and divided into folds.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Int

LEVEL = 0.05
# Effects within this many nats of zero do not matter in practice.
PRACTICALLY_ZERO = 0.1
POWER = 0.8
N_FOLDS = 10
N_REPEATS = 20
N_RESAMPLES = 9999
# Signs of that many clusters are flipped in all ways, those of more clusters in `N_FLIPS` random ways.
FLIPPED_IN_ALL_WAYS = 19
N_FLIPS = 19_999
Effects = Float[np.ndarray, "prompt site"]
Clusters = Int[np.ndarray, " prompt"]


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts in nats, with its 95 % interval and two-sided p-value.

    `n_effective` is the number of clusters of one size that would say as much: (sum of sizes)^2 / sum of sizes^2.
    """

    effect: float
    low: float
    high: float
    p: float
    detectable: float
    n_prompts: int
    n_clusters: int
    n_effective: float

    @property
    def columns(self) -> dict[str, float]:
        """The fields by name, as columns for a table."""
        return asdict(self)


def describe_effect(estimate: Mapping[str, Any] | pd.Series) -> str:
    """Return an effect and its interval as text, such as `+0.20 nats [+0.07, +0.31]`."""
    if np.isnan(estimate["low"]):
        return f"{estimate['effect']:+.2f} nats (no interval: a single cluster)"
    return f"{estimate['effect']:+.2f} nats [{estimate['low']:+.2f}, {estimate['high']:+.2f}]"


def estimate_mean(effects: Float[np.ndarray, " prompt"], clusters: Clusters, seed: int) -> Estimate:
    """Estimate the mean effect over prompts.

    `clusters` numbers the cluster of each prompt from 0. The interval is the BCa bootstrap over clusters; p flips the
    signs of whole clusters, which holds for few and unequal clusters, too; `detectable` is the least effect that a
    two-sided t-test at 5 % with cluster-robust standard error finds with a power of 80 %. With fewer than two clusters,
    all of them are missing.
    """
    n_clusters = int(clusters.max(initial=-1)) + 1
    mean = float(effects.mean()) if len(effects) else np.nan
    totals, sizes = np.bincount(clusters, effects), np.bincount(clusters)
    counts = (len(effects), n_clusters, float(sizes.sum() ** 2 / (sizes**2).sum()) if len(effects) else 0.0)
    if n_clusters < 2:
        return Estimate(mean, np.nan, np.nan, np.nan, np.nan, *counts)
    p = float(_flip_signs(np.stack([totals, -totals], axis=1), seed).min())
    if np.ptp(effects) == 0:
        return Estimate(mean, mean, mean, p, 0.0, *counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        low, high = scipy.stats.bootstrap(
            (totals, sizes), _divide_sums, paired=True, vectorized=True, n_resamples=N_RESAMPLES, batch=500,
            confidence_level=1 - LEVEL, method="BCa", rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    error, freedom = float(_fit_mean(effects, clusters).bse[0]), n_clusters - 1
    detectable = float(scipy.stats.t.ppf([1 - LEVEL / 2, POWER], freedom).sum()) * error
    return Estimate(mean, float(low), float(high), p, detectable, *counts)


def _divide_sums(totals: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    return totals.sum(axis=axis) / sizes.sum(axis=axis)


def _fit_mean(effects: Float[np.ndarray, " prompt"], clusters: Clusters):  # type: ignore[no-untyped-def]
    """Fit a constant by least squares; `statsmodels` gives its cluster-robust error."""
    from statsmodels.regression.linear_model import OLS  # half a second, which readers of estimates do without

    return OLS(effects, np.ones(len(effects))).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)


def bound_sites(effects: Effects, clusters: Clusters) -> Float[np.ndarray, "site 3"]:
    """Return the ends of each site's 95 % interval, and its one-sided p-value that the mean effect is below zero.

    All are cluster-robust, and not adjusted for the number of sites.
    """
    if len(np.unique(clusters)) < 2:
        return np.full((effects.shape[1], 3), np.nan)
    rows = []
    for column in effects.T:
        if np.ptp(column) == 0:
            rows.append([column[0], column[0], float(column[0] >= 0)])
            continue
        fit = _fit_mean(column, clusters)
        rows.append([*fit.conf_int(LEVEL)[0], scipy.stats.t.cdf(fit.tvalues[0], fit.df_resid_inference)])
    return np.array(rows)


def adjust_over_grid(effects: Effects, clusters: Clusters, seed: int) -> Float[np.ndarray, " site"]:
    """Return each site's p-value that its mean effect is above zero, adjusted for the whole grid (maxT).

    Under the null hypothesis that nothing happens anywhere, the effects of a cluster are as likely with the other sign.
    The signs of whole clusters are flipped; p is the share of flips in which the largest t of the grid reaches the
    site's.
    """
    totals = _sum_clusters(effects, clusters)
    scale = np.sqrt((totals**2).sum(axis=0))
    observed = totals / np.where(scale > 0, scale, 1)
    return _flip_signs(observed, seed)


def _flip_signs(totals: Float[np.ndarray, "cluster site"], seed: int) -> Float[np.ndarray, " site"]:
    """Return, for the sum of each column, the share of flips of the rows' signs in which the largest sum reaches it."""
    is_exact = len(totals) <= FLIPPED_IN_ALL_WAYS
    largest = []
    for signs in _draw_signs(len(totals), seed):
        sums = signs @ totals
        largest.append(sums.max(axis=1))
        if is_exact:
            largest.append(-sums.min(axis=1))  # all signs the other way round
    reached = np.sort(np.concatenate(largest))
    reaching = len(reached) - np.searchsorted(reached, totals.sum(axis=0) - 1e-9)
    return reaching / len(reached) if is_exact else (1 + reaching) / (1 + len(reached))


def _draw_signs(n_clusters: int, seed: int) -> Iterator[Float[np.ndarray, "flip cluster"]]:
    """Yield signs of clusters, some thousands of flips at a time: random ones or, if clusters are few, all.

    Of two ways that differ in every sign, only the one that keeps the last cluster's sign is among all.
    """
    if n_clusters <= FLIPPED_IN_ALL_WAYS:
        for start in range(0, 2 ** (n_clusters - 1), 2**14):
            flips = np.arange(start, min(start + 2**14, 2 ** (n_clusters - 1)))
            yield np.where(flips[:, None] >> np.arange(n_clusters) & 1, -1.0, 1.0)
    else:
        rng = np.random.default_rng(seed)
        yield from (rng.choice([-1.0, 1.0], size=(size, n_clusters)) for size in _split(N_FLIPS, 2**14))


def _split(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def choose_sites(effects: Effects, clusters: Clusters, seed: int) -> Int[np.ndarray, "prompt division"]:
    """Choose for each prompt the site with the highest mean effect on other clusters; returns indices of columns.

    The clusters are divided at random into `N_FOLDS` folds, `N_REPEATS` times; in each division, a fold takes the best
    site of the others. With a single cluster there are no others, and all prompts take the best site.
    """
    totals, sizes = _sum_clusters(effects, clusters), np.bincount(clusters)
    rng = np.random.default_rng(seed)
    n_folds = min(N_FOLDS, len(sizes))
    chosen = np.full((len(sizes), N_REPEATS), np.argmax(totals.sum(axis=0)))
    for division in range(N_REPEATS if n_folds > 1 else 0):
        folds = _divide_into_folds(sizes, n_folds, rng)
        for fold in range(n_folds):
            chosen[folds == fold, division] = np.argmax(totals[folds != fold].sum(axis=0))
    return chosen[clusters]


def read_chosen(effects: Effects, chosen: Int[np.ndarray, "prompt division"]) -> Float[np.ndarray, " prompt"]:
    """Return each prompt's effect at the sites that were chosen for it, averaged over the divisions."""
    return np.take_along_axis(effects, chosen, axis=1).mean(axis=1)


def _sum_clusters(effects: Effects, clusters: Clusters) -> Float[np.ndarray, "cluster site"]:
    totals = np.zeros((int(clusters.max()) + 1, effects.shape[1]))
    np.add.at(totals, clusters, effects)
    return totals


def _divide_into_folds(sizes: Int[np.ndarray, " cluster"], n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Divide clusters at random into folds with about equally many prompts, the largest clusters first."""
    folds, filled = np.zeros(len(sizes), dtype=int), np.zeros(n_folds, dtype=int)
    shuffled = rng.permutation(len(sizes))
    for cluster in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        emptiest = rng.choice(np.flatnonzero(filled == filled.min()))
        folds[cluster] = emptiest
        filled[emptiest] += sizes[cluster]
    return folds
