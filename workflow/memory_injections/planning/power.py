"""What a study can find, before it runs: the least effect, by its clusters of prompts, and what another effect needs.

A study is simulated with effects of prompts drawn from a normal distribution, a share of their variance common to the
prompts of a cluster, and tested as its own effects will be (`analysis.effects`).
"""

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from memory_injections.analysis.averages import measure_effect
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.effects import (
    FEWEST_CLUSTERS,
    N_FLIPS_OF_SIMULATIONS,
    N_SIMULATIONS,
    POWER,
    Sizes,
    invert_sign_flips,
)
from memory_injections.config.study import Study
from memory_injections.data.sources import DataSource
from memory_injections.planning.machines import locate_known, read_known
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, TWIN

# The standard deviation of prompts' effects at the sites chosen for them, in nats, before a study has any of its own.
TYPICAL_DEVIATION, TYPICAL_OF = 0.4, "the default study"
# The share of the variance that is common to the prompts of a cluster.
OF_CLUSTER = 0.3
# More clusters than these are not looked for.
MOST_CLUSTERS = 2000


def tabulate_power(
    study: Study, n_prompts: Mapping[str, int], difference: float, results: Path | None = None
) -> pd.DataFrame:
    """Return a row for each data set: its clusters, what it finds, and what an effect of `difference` nats needs.

    `n_prompts` are the numbers of prompts by data set, `results` is the folder of the study's results, if it has any.
    What is found is the mean effect, in nats, that the test at 5 % finds with a power of 80 %.
    """
    rows = []
    for name, source in study.datasets.items():
        sizes, origin = find_cluster_sizes(source, n_prompts[name])
        deviation, deviation_of = find_deviation(name, results)
        finds = deviation * simulate_detectable(sizes, study.seed)
        needed = find_needed(sizes, difference / deviation, study.seed)
        rows.append(
            {
                "data": name,
                "prompts": sizes.sum(),
                "clusters": len(sizes),
                "SD": f"{deviation:.2f}",
                "finds": "nothing" if np.isnan(finds) else f"{finds:.2f}",
                f"clusters for {difference:g}": "too many" if needed is None else _round(len(needed)),
                "prompts in them": "too many" if needed is None else _round(needed.sum()),
                "SD of": deviation_of,
                "clusters of": origin,
            }
        )
    return pd.DataFrame(rows)


def find_cluster_sizes(source: DataSource, n_prompts: int) -> tuple[Sizes, str]:
    """Return how many prompts each cluster of a data set has, and where that is from.

    It is from the data's own file on this machine, or from what is known of all of them, of which `n_prompts` are an
    even part. Nothing of that telling, each prompt is its own cluster.
    """
    if source.file_name is not None and source.local_files():
        return cluster_prompts(source.read_pairs()).value_counts().to_numpy(), source.local_files()[0]
    known = source.file_name or ""
    is_known = "clusters" in read_known()["datasets"].get(known, {})
    if is_known and getattr(source, "cluster", None) is None:
        sizes = list_known_sizes(known)
        clusters = np.repeat(np.arange(len(sizes)), sizes)[np.linspace(0, sizes.sum() - 1, n_prompts).astype(int)]
        return np.unique(clusters, return_counts=True)[1], locate_known()
    return np.ones(n_prompts, dtype=int), "assumed: one prompt each"


def list_known_sizes(file_name: str) -> Sizes:
    """Return how many prompts each cluster of a known data set has."""
    known = read_known()["datasets"][file_name]["clusters"]
    return np.repeat(list(known.keys()), list(known.values()))


def find_deviation(dataset: str, results: Path | None) -> tuple[float, str]:
    """Return the standard deviation of prompts' effects on a data set, in nats, and what it is of.

    It is the median over the sites that a study's evidence chooses for curated memories, of trained models; without
    evidence in the folder of a study's `results`, it is `TYPICAL_DEVIATION`.
    """
    evidence = results / "tables" / "evidence.csv" if results else None
    if results and evidence and evidence.is_file():
        table = pd.read_csv(evidence)
        table = table[(table["dataset"] == dataset) & (table["memories"] == CURATED)]
        deviations = []
        for row in table[~table["model"].str.endswith(TWIN)].itertuples():
            sweep = SweepId(row.model, dataset, CURATED, row.chosen_encoding, row.relative)
            site = [("layer", "==", row.layer), ("magnitude", "==", row.magnitude)]
            if (path := results / "injections" / f"{sweep.path}.parquet").is_file():
                deviations.append(measure_effect(pd.read_parquet(path, filters=site)).std())
        if deviations:
            return float(np.median(deviations)), str(evidence)
    return TYPICAL_DEVIATION, TYPICAL_OF


def simulate_detectable(sizes: Sizes, seed: int) -> float:
    """Return the mean effect that the test at 5 % finds with a power of 80 %, in standard deviations of the effects.

    It is missing with fewer than `FEWEST_CLUSTERS` clusters. As in `effects.find_detectable`, a simulated study finds
    an effect that is larger than the lower end of its interval is below zero. The means of the simulated studies are
    spread as evenly as their distribution is, so that a few hundred of them suffice.
    """
    scale = np.sqrt(OF_CLUSTER * sizes**2 + (1 - OF_CLUSTER) * sizes)
    totals = scale[:, None] * np.random.default_rng([seed, 2]).normal(size=(len(sizes), N_SIMULATIONS))
    lows = invert_sign_flips(totals, sizes, seed, n_flips=N_FLIPS_OF_SIMULATIONS)[:, 0]
    means = totals.sum(axis=0) / sizes.sum()
    even = np.linalg.norm(scale) / sizes.sum() * norm.ppf((rankdata(means) - 0.5) / N_SIMULATIONS)
    return float(np.quantile(means - lows - even, POWER))


def find_needed(sizes: Sizes, difference: float, seed: int) -> Sizes | None:
    """Return the sizes of as few clusters as find an effect of `difference` standard deviations; None if too many.

    Their sizes are distributed as `sizes` are.
    """
    n_clusters = range(FEWEST_CLUSTERS, MOST_CLUSTERS + 1)
    index = bisect_left(n_clusters, -difference, key=lambda n: -simulate_detectable(_spread(sizes, n), seed))
    return _spread(sizes, n_clusters[index]) if index < len(n_clusters) else None


def _spread(sizes: Sizes, n_clusters: int) -> Sizes:
    """Return the sizes of so many clusters, distributed as `sizes` are: their quantiles at even steps."""
    return np.sort(sizes)[((np.arange(n_clusters) + 0.5) * len(sizes) / n_clusters).astype(int)]


def _round(number: float) -> str:
    """A number with two digits: the simulation and the deviation allow no more."""
    return f"{float(f'{number:.1e}'):,.0f}"
