"""Mean effects over clustered prompts, with intervals, tests and a choice of site that does not flatter.

Effects are in nats. Clusters of prompts, not single prompts, are resampled, flipped and divided into folds.
"""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import DegenerateDataWarning, bootstrap, t
from statsmodels.regression.linear_model import OLS

LEVEL = 0.05
# Effects within this many nats of zero do not matter in practice.
PRACTICALLY_ZERO = 0.1
POWER = 0.8
N_FOLDS = 10
N_REPEATS = 20
N_RESAMPLES = 9999
Effects = Float[np.ndarray, "prompt site"]
Clusters = Int[np.ndarray, " prompt"]


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts in nats, with its 95 % interval and two-sided p-value."""

    effect: float
    low: float
    high: float
    p: float
    detectable: float
    n_prompts: int
    n_clusters: int

    @property
    def columns(self) -> dict[str, float]:
        """The fields by name, as columns for a table."""
        return asdict(self)


def estimate_mean(effects: Float[np.ndarray, " prompt"], clusters: Clusters, seed: int) -> Estimate:
    """Estimate the mean effect over prompts.

    `clusters` numbers the cluster of each prompt from 0. The interval is the BCa bootstrap over clusters; p is from the
    t-test with cluster-robust standard error, which also gives `detectable`, the least effect that a two-sided test at
    5 % finds with a power of 80 %. With fewer than two clusters, all of them are missing.
    """
    n_clusters = int(clusters.max(initial=-1)) + 1
    mean = float(effects.mean()) if len(effects) else np.nan
    if n_clusters < 2:
        return Estimate(mean, np.nan, np.nan, np.nan, np.nan, len(effects), n_clusters)
    if np.ptp(effects) == 0:
        return Estimate(mean, mean, mean, float(mean == 0), 0.0, len(effects), n_clusters)
    totals, sizes = np.bincount(clusters, effects), np.bincount(clusters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        low, high = bootstrap(
            (totals, sizes), _divide_sums, paired=True, vectorized=True, n_resamples=N_RESAMPLES,
            confidence_level=1 - LEVEL, method="BCa", rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    fit = _fit_mean(effects, clusters)
    error, freedom = float(fit.bse[0]), n_clusters - 1
    detectable = float(t.ppf(1 - LEVEL / 2, freedom) + t.ppf(POWER, freedom)) * error
    return Estimate(mean, float(low), float(high), float(fit.pvalues[0]), detectable, len(effects), n_clusters)


def _divide_sums(totals: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    return totals.sum(axis=axis) / sizes.sum(axis=axis)


def _fit_mean(effects: Float[np.ndarray, " prompt"], clusters: Clusters):  # type: ignore[no-untyped-def]
    """Fit a constant by least squares; `statsmodels` gives its cluster-robust error."""
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
        rows.append([*fit.conf_int(LEVEL)[0], t.cdf(fit.tvalues[0], fit.df_resid_inference)])
    return np.array(rows)


def adjust_over_grid(effects: Effects, clusters: Clusters, seed: int) -> Float[np.ndarray, " site"]:
    """Return each site's p-value that its mean effect is above zero, adjusted for the whole grid (maxT).

    Under the null hypothesis that nothing happens anywhere, the sign of a whole cluster's effects is arbitrary. Signs
    are flipped `N_RESAMPLES` times; p is the share of flips in which the largest t of the grid reaches the site's.
    """
    totals = _sum_clusters(effects, clusters)
    scale = np.sqrt((totals**2).sum(axis=0))
    scaled = totals / np.where(scale > 0, scale, 1)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(N_RESAMPLES, len(totals)))
    largest = np.sort((signs @ scaled).max(axis=1))
    n_reaching = len(largest) - np.searchsorted(largest, scaled.sum(axis=0) - 1e-12)
    return (1 + n_reaching) / (1 + len(largest))


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
