"""Mean effects over clustered prompts, with intervals, tests and a choice of site that does not flatter.

Effects are in nats. Clusters of prompts, not single prompts, are resampled, flipped and divided into folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from memory_injections.analysis.numbers import choose_digits, write_signed

LEVEL = 0.05
# The level of the two tests of equivalence together. At 5 %, skewed effects would pass for practically zero too often
# (`tools/interval_coverage.py`).
EQUIVALENCE_LEVEL = 0.01
POWER = 0.8
N_FOLDS = 10
N_REPEATS = 20
# Signs of clusters are flipped in so many random ways or, if that is not more, in all ways. The least detectable effect
# takes fewer, because it simulates a study many times.
N_FLIPS, N_FLIPS_OF_SIMULATIONS = 19_999, 1_999
N_SIMULATIONS = 400
# How many means are bounded at a time, and how many numbers are made of flips at a time, which limits memory.
MEANS_AT_ONCE, NUMBERS_AT_ONCE = 32, 2**22
# With fewer clusters, no test of their signs can have a p-value below 5 %.
FEWEST_CLUSTERS = 6
Effects = Float[np.ndarray, "prompt site"]
Clusters = Int[np.ndarray, " prompt"]
ClusterSums = Float[np.ndarray, "cluster mean"]
Sizes = Int[np.ndarray, " cluster"]
Flips = Bool[np.ndarray, "flip cluster"]


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts in nats, with its 95 % interval, its 99 % interval and two-sided p-value.

    `n_effective` is the number of clusters of one size that would say as much: (sum of sizes)^2 / sum of sizes^2.
    """

    effect: float
    low: float
    high: float
    low_99: float
    high_99: float
    p: float
    detectable: float
    n_prompts: int
    n_clusters: int
    n_effective: float

    @property
    def columns(self) -> dict[str, float]:
        """The fields by name, as columns for a table."""
        return asdict(self)


# The columns of an estimate in a table.
ESTIMATE = [field.name for field in fields(Estimate)]


def describe_effect(estimate: Mapping[str, Any] | pd.Series) -> str:
    """Return an effect and its interval as text, such as `+0.20 nats [+0.07, +0.31]`."""
    if np.isnan(estimate["effect"]):
        return "no prompts"
    if np.isnan(estimate["low"]):
        effect = write_signed(estimate["effect"])
        return f"{effect} nats (no interval: fewer than {FEWEST_CLUSTERS} clusters, or all alike)"
    digits = choose_digits(estimate["low"], estimate["high"])
    effect, low, high = (write_signed(estimate[name], digits) for name in ("effect", "low", "high"))
    return f"{effect} nats [{low}, {high}]"


def estimate_mean(
    effects: Float[np.ndarray, " prompt"], clusters: Clusters, seed: int, with_power: bool = True
) -> Estimate:
    """Estimate the mean effect over prompts, with the interval and the p-value of one test.

    `clusters` numbers the cluster of each prompt from 0. The test flips the signs of whole clusters, which holds for
    few and unequal clusters, too, if effects are as likely above their mean as below. The interval has the means that
    it does not refuse at 5 % (`invert_sign_flips`). `detectable`: see `find_detectable`. Both are missing with fewer
    than `FEWEST_CLUSTERS` clusters, and where all effects are the same; with a single cluster, p is missing, too. The
    simulation of `detectable` takes most of the time, and is left out unless `with_power`.
    """
    n_clusters = int(clusters.max(initial=-1)) + 1
    mean = float(effects.mean()) if len(effects) else np.nan
    totals, sizes = np.bincount(clusters, effects), np.bincount(clusters)
    counts = (len(effects), n_clusters, float(sizes.sum() ** 2 / (sizes**2).sum()) if len(effects) else 0.0)
    if n_clusters < 2:
        return Estimate(mean, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, *counts)
    p = float(_flip_signs(np.stack([totals, -totals], axis=1), seed).min())
    if np.ptp(effects) == 0:
        return Estimate(mean, np.nan, np.nan, np.nan, np.nan, p, np.nan, *counts)
    ends = invert_sign_flips(totals[:, None], sizes, seed, (LEVEL, EQUIVALENCE_LEVEL))
    low, high, low_99, high_99 = map(float, ends[0])
    detectable = find_detectable(totals, sizes, seed) if with_power else np.nan
    return Estimate(mean, low, high, low_99, high_99, p, detectable, *counts)


def invert_sign_flips(
    totals: ClusterSums, sizes: Sizes, seed: int, levels: Sequence[float] = (LEVEL,), n_flips: int = N_FLIPS
) -> Float[np.ndarray, "mean ends"]:
    """Return both ends of an interval of each mean over prompts: the means that flips of signs do not refuse.

    The second axis has low and high at each of `levels`, such as 5 % for a 95 % interval.

    `totals` are the sums over the prompts of each cluster, `sizes` the numbers of prompts. After m, below the mean, is
    taken off every prompt, flipping the signs of some clusters gives a sum at least as far from zero if the mean of the
    flipped prompts, or that of the others, is at most m; above the mean, if it is at least m. So both ends are order
    statistics of those means. They are missing where clusters are so few that no flip is as rare as the level.
    """
    flips = _draw_flips(len(sizes), seed, n_flips)
    n_flipped = flips.sum(axis=1)
    # The signs as they are reach the sum, and so do all signs the other way round. They are among all ways.
    is_trivial = (n_flipped == 0) | (n_flipped == len(sizes))
    n_drawn, n_more = (len(flips), is_trivial.sum() - 1) if len(flips) < n_flips else (1 + len(flips), is_trivial.sum())
    flips = flips[~is_trivial]
    ranks = [max(0, int(level * n_drawn) - n_more) for level in levels]
    known = [rank for rank in ranks if rank]
    n_flipped = _sum_flipped(flips, sizes[:, None])
    bounds = []
    for start in range(0, totals.shape[1], MEANS_AT_ONCE):
        part = totals[:, start : start + MEANS_AT_ONCE]
        sums = _sum_flipped(flips, part)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / n_flipped, (part.sum(axis=0) - sums) / (sizes.sum() - n_flipped)
        lows, highs = np.fmin(*means), np.fmax(*means)
        if known:
            lows.partition([rank - 1 for rank in known], axis=0)
            highs.partition([-rank for rank in known], axis=0)
        missing = np.full(part.shape[1], np.nan)
        ends = [(lows[rank - 1], highs[-rank]) if rank else (missing, missing) for rank in ranks]
        bounds.append(np.stack([end for both in ends for end in both], axis=1))
    return np.concatenate(bounds)


def find_detectable(totals: Float[np.ndarray, " cluster"], sizes: Sizes, seed: int) -> float:
    """Return the mean effect that the test at 5 % finds with a power of 80 %, by simulation; `totals` as above.

    A simulated study has the clusters' deviations from the mean with random signs. It finds an effect that is larger
    than the lower end of its interval is below zero.
    """
    n_clusters = len(sizes)
    deviations = (totals - totals.sum() / sizes.sum() * sizes) * np.sqrt(n_clusters / (n_clusters - 1))
    signs = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], size=(N_SIMULATIONS, n_clusters))
    lows = invert_sign_flips((signs * deviations).T, sizes, seed, n_flips=N_FLIPS_OF_SIMULATIONS)[:, 0]
    return float(np.quantile(-lows, POWER))


def bound_sites(effects: Effects, clusters: Clusters, seed: int) -> Float[np.ndarray, "site 3"]:
    """Return the ends of each site's 95 % interval, and its one-sided p-value that the mean effect is below zero.

    All are those of `estimate_mean`'s test, and not adjusted for the number of sites.
    """
    totals = _sum_clusters(effects, clusters)
    bounds = invert_sign_flips(totals, np.bincount(clusters), seed)
    bounds[np.ptp(effects, axis=0) == 0] = np.nan
    below = _flip_signs(-totals, seed, together=False) if len(totals) > 1 else np.full(len(bounds), np.nan)
    return np.column_stack([bounds, below])


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


def _flip_signs(totals: ClusterSums, seed: int, together: bool = True) -> Float[np.ndarray, " mean"]:
    """Return, for the sum of each column, the share of flips of the rows' signs in which it is reached.

    `together`, it is reached by the largest sum of all columns, otherwise by the column's own.
    """
    flips, least = _draw_flips(len(totals), seed, N_FLIPS), totals.sum(axis=0) - 1e-9
    is_exact = len(flips) < N_FLIPS
    n_reaching = np.zeros(totals.shape[1])
    for part in _divide(flips, totals.shape[1]):
        sums = np.where(part, -1.0, 1.0) @ totals
        # All ways are these and those with all signs the other way round.
        for flipped in (sums, -sums) if is_exact else (sums,):
            n_reaching += ((flipped.max(axis=1, keepdims=True) if together else flipped) >= least).sum(axis=0)
    return n_reaching / (2 * len(flips)) if is_exact else (1 + n_reaching) / (1 + len(flips))


def _sum_flipped(flips: Flips, totals: ClusterSums) -> Float[np.ndarray, "flip mean"]:
    """Return the sums of the rows of `totals` whose signs each way flips."""
    return np.concatenate([part.astype(float) @ totals for part in _divide(flips, totals.shape[1])])


def _divide(flips: Flips, n_means: int) -> list[Flips]:
    """Divide flips into parts that can be computed with at once; each is a view."""
    return np.array_split(flips, max(1, -(-len(flips) * max(flips.shape[1], n_means) // NUMBERS_AT_ONCE)))


@lru_cache(maxsize=2)
def _draw_flips(n_clusters: int, seed: int, n_flips: int) -> Flips:
    """Return the clusters whose signs are flipped: random ones or, if clusters are few, in all ways.

    Of two ways that differ in every sign, only the one that keeps the last cluster's sign is among all.
    """
    if 2 ** (n_clusters - 1) <= n_flips:
        ways = np.arange(2 ** (n_clusters - 1))
        return (ways[:, None] >> np.arange(n_clusters) & 1).astype(bool)
    rng, flips = np.random.default_rng(seed), np.empty((n_flips, n_clusters), dtype=bool)
    for part in _divide(flips, 0):
        part[:] = rng.integers(2, size=part.shape) == 0
    return flips


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
