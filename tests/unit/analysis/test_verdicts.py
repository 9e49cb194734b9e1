"""Verdicts: their rules, and how often each comes out of simulated studies whose answer is known."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis import effects
from memory_injections.analysis.evidence import SweepEffects, assess_effects, contrast_sweeps
from memory_injections.analysis.verdicts import (
    INCONCLUSIVE,
    OPPOSITE,
    SUPPORTED,
    ZERO,
    adjust_p_values,
    combine_p_values,
    name_verdict,
)
from simulations import Design, Truth, draw_clusters, draw_effects


def estimate(low: float, high: float, **p_values: float) -> pd.Series:
    return pd.Series(
        {"effect": (low + high) / 2, "low": low, "high": high, "low_99": low, "high_99": high, "p": 0.001, **p_values}
    )


@pytest.mark.parametrize(
    ("intervals", "p", "verdict"),
    [
        ([(0.1, 0.3)], 0.01, SUPPORTED),
        ([(0.1, 0.3)], 0.06, INCONCLUSIVE),
        ([(0.1, 0.3), (-0.1, 0.3)], 0.01, INCONCLUSIVE),
        ([(-0.3, -0.2), (-0.4, -0.1)], 0.01, OPPOSITE),
        ([(-0.3, -0.2), (0.1, 0.2)], 0.01, INCONCLUSIVE),
        ([(-0.05, 0.09)], 0.5, ZERO),
        ([(0.01, 0.09)], 0.5, ZERO),
        ([(0.01, 0.09)], 0.01, ZERO),
        ([(0.001, 0.15)], 0.01, INCONCLUSIVE),
        ([(0.001, 0.25)], 0.01, SUPPORTED),
        ([(-0.05, 0.11)], 0.5, INCONCLUSIVE),
        ([(np.nan, np.nan)], np.nan, INCONCLUSIVE),
        ([(0.1, 0.3), (np.nan, np.nan)], 0.01, INCONCLUSIVE),
    ],
)
def test_rules(intervals: list[tuple[float, float]], p: float, verdict: str) -> None:
    assert name_verdict([estimate(*ends) for ends in intervals], p, 0.1) == verdict


def test_equivalence_asks_for_the_wider_interval_and_the_margin_is_a_setting() -> None:
    near = estimate(-0.05, 0.09)
    assert name_verdict([near], 0.5, 0.1) == ZERO
    assert name_verdict([near.replace(0.09, 0.08)], 0.5, 0.085) == ZERO
    near["high_99"] = 0.11
    assert name_verdict([near], 0.5, 0.1) == INCONCLUSIVE
    assert name_verdict([near], 0.5, 0.2) == ZERO


def test_the_largest_p_value_counts_and_the_grid_in_the_direction_of_the_effect() -> None:
    above = estimate(0.1, 0.3, p_above=0.02, p_below=0.9)
    assert combine_p_values([above, estimate(0.1, 0.3)]) == 0.04
    assert combine_p_values([above, estimate(0.1, 0.3).replace(0.001, 0.2)]) == 0.2
    assert combine_p_values([estimate(-0.3, -0.1, p_above=0.9, p_below=0.03)]) == 0.06
    assert np.isnan(combine_p_values([above, estimate(np.nan, np.nan).replace(0.001, np.nan)]))


def test_holm() -> None:
    assert adjust_p_values([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert adjust_p_values([]) == []


def judge_simulated(truth: Truth, design: Design, seed: int) -> str:
    """Judge that the memory helps: curated memories as `truth` says, against random words that do nothing."""
    rng = np.random.default_rng(seed)
    clusters = draw_clusters(design, rng)
    sites = pd.MultiIndex.from_product([range(design.n_sites), [1.0]], names=["layer", "magnitude"])

    def sweep(kind: Truth) -> SweepEffects:
        frame = pd.DataFrame(draw_effects(kind, design, clusters, rng), columns=sites)
        return SweepEffects(frame, pd.Series(clusters), seed)

    curated, random = sweep(truth), sweep("no effect")
    estimates = [pd.Series(assess_effects(curated)), pd.Series(next(contrast_sweeps(curated, {"nouns": random})))]
    return name_verdict(estimates, combine_p_values(estimates), 0.1)


@pytest.mark.parametrize("design", [Design(), Design(n_prompts=300, n_clusters=15)], ids=["memories", "few hops"])
@pytest.mark.parametrize(
    ("truth", "often", "never"),
    [
        ("no effect", {ZERO, INCONCLUSIVE}, {SUPPORTED, OPPOSITE}),
        ("one huge outlier", {ZERO, INCONCLUSIVE}, {SUPPORTED, OPPOSITE}),
        ("-0.5 nats everywhere", {OPPOSITE, INCONCLUSIVE}, {SUPPORTED, ZERO}),
        ("0.2 nats in all", {SUPPORTED, INCONCLUSIVE}, {OPPOSITE, ZERO}),
        ("2 nats in a tenth", {SUPPORTED, INCONCLUSIVE}, {OPPOSITE, ZERO}),
    ],
)
def test_how_often_each_verdict_comes_out(
    truth: Truth, often: set[str], never: set[str], design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "N_FLIPS", 399)
    monkeypatch.setattr(effects, "N_SIMULATIONS", 1)
    n_studies = 60 if truth in ("no effect", "one huge outlier") else 20
    counts = Counter(judge_simulated(truth, design, seed) for seed in range(n_studies))
    assert sum(counts[verdict] for verdict in never) <= 0.05 * n_studies
    assert sum(counts[verdict] for verdict in often) >= 0.95 * n_studies
