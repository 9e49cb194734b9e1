"""Simulated sweeps with a known answer: effects of prompts in clusters, correlated over the sites of a grid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Truth = Literal["no effect", "0.2 nats in all", "2 nats in a tenth", "one huge outlier", "-0.5 nats everywhere"]


@dataclass(frozen=True)
class Design:
    """How many prompts, clusters and sites there are, and how much of the noise is common to a cluster, in nats."""

    n_prompts: int = 100
    n_clusters: int = 90
    n_sites: int = 40
    noise: float = 0.25
    of_cluster: float = 0.1


def draw_clusters(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Number the cluster of each prompt from 0; large clusters are more probable than small ones."""
    weights = 1 / np.arange(1, design.n_clusters + 1) ** (1 if design.n_clusters < design.n_prompts / 4 else 0)
    drawn = rng.choice(design.n_clusters, size=design.n_prompts, p=weights / weights.sum())
    return np.asarray(pd.factorize(drawn)[0])


def draw_effects(truth: Truth, design: Design, clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an effect for each prompt and site; only one site, a random one, has what `truth` says (or all of them)."""
    shape = (design.n_prompts, 6)
    common = design.of_cluster * rng.standard_t(5, size=(clusters.max() + 1, 6))[clusters]
    mix = rng.normal(size=(6, design.n_sites)) / np.sqrt(6)
    effects = (design.noise * rng.standard_t(4, size=shape) + common) @ mix
    effects += 0.1 * rng.normal(size=effects.shape)
    site = rng.integers(design.n_sites)
    if truth == "0.2 nats in all":
        effects[:, site] += 0.2
    elif truth == "2 nats in a tenth":
        effects[rng.permutation(design.n_prompts)[: design.n_prompts // 10], site] += 2
    elif truth == "one huge outlier":
        effects[rng.integers(design.n_prompts), site] += 20
    elif truth == "-0.5 nats everywhere":
        effects -= 0.5
    return effects
