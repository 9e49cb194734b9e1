"""Estimates, tests of a grid and the choice of sites, against definitions written out and simulations."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from memory_injections.analysis import effects
from memory_injections.analysis.effects import (
    adjust_over_grid,
    bound_sites,
    choose_sites,
    describe_effect,
    estimate_mean,
    read_chosen,
)
from scipy.stats import t
from simulations import Design, draw_clusters, draw_effects


def invert_slowly(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """The least and the largest of a fine grid of means that flips of signs, tried one by one, do not refuse at 5 %."""
    signs = np.array(list(product([1, -1], repeat=clusters.max() + 1)))
    kept = []
    for mean in np.arange(-2, 2, 0.001):
        totals = np.bincount(clusters, values - mean)
        reached = np.abs(signs @ totals) >= abs(totals.sum()) - 1e-9
        if reached.mean() > 0.05:
            kept.append(mean)
    return min(kept), max(kept)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_has_what_the_test_does_not_refuse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(8), rng.integers(8, size=12)])
    values = rng.exponential(0.3, size=20) - 0.1 + rng.normal(0, 0.2, size=8)[clusters]
    found = estimate_mean(values, clusters, seed=0)
    assert (found.low, found.high) == pytest.approx(invert_slowly(values, clusters), abs=2e-3)
    (bounds,) = bound_sites(values[:, None], clusters, seed=0)
    assert bounds[:2].tolist() == [found.low, found.high]


@pytest.mark.parametrize("n_clusters", [6, 12, 40])
def test_interval_and_p_value_agree(n_clusters: int) -> None:
    """Zero is in the interval if and only if p is above 5 %, also where flips are random."""
    rng = np.random.default_rng(n_clusters)
    for shift in np.linspace(0, 0.5, 11):
        values, clusters = rng.normal(shift, 0.5, size=60), np.arange(60) % n_clusters
        found = estimate_mean(values, clusters, seed=1)
        assert (found.low > 0 or found.high < 0) == (found.p <= 0.05)


def test_a_mean_of_many_alike_clusters_by_its_formula() -> None:
    values = np.random.default_rng(0).normal(1, 0.5, size=200)
    found = estimate_mean(values, np.arange(200), seed=0)
    error = values.std(ddof=1) / np.sqrt(200)
    half = t.ppf(0.975, 199) * error
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)
    assert found.detectable == pytest.approx((t.ppf(0.975, 199) + t.ppf(0.8, 199)) * error, rel=0.1)
    assert (found.n_prompts, found.n_clusters, found.n_effective) == (200, 200, 200)
    few = estimate_mean(np.sort(values), np.repeat(np.arange(8), 25), seed=0)
    assert few.detectable > found.detectable


def test_p_values_flip_the_signs_of_clusters() -> None:
    values, clusters = np.array([1.0, 0.5, -0.2, 0.4, 0.9]), np.array([0, 0, 1, 2, 3])
    totals = np.array([1.5, -0.2, 0.4, 0.9])
    sums = [np.dot(signs, totals) for signs in product([1, -1], repeat=4)]
    assert estimate_mean(values, clusters, seed=0).p == np.mean(np.abs(sums) >= totals.sum() - 1e-9) == 4 / 16
    assert estimate_mean(-values, clusters, seed=0).p == 4 / 16
    assert estimate_mean(values, clusters, seed=0).n_effective == pytest.approx(25 / 7)
    many = np.random.default_rng(0).normal(0.3, 1, 50)
    by_t = 2 * t.sf(many.mean() / (many.std(ddof=1) / np.sqrt(50)), 49)
    assert estimate_mean(many, np.arange(50), seed=0).p == pytest.approx(by_t, rel=0.35)


@pytest.mark.parametrize("n_clusters", [12, 40])
def test_parts_of_the_flips_give_what_all_at_once_give(n_clusters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(0.1, 1, size=(60, 3))
    clusters = np.arange(60) % n_clusters

    def compute() -> list[np.ndarray]:
        effects._draw_flips.cache_clear()
        estimate = np.array(list(estimate_mean(values[:, 0], clusters, seed=1).columns.values()))
        return [estimate, bound_sites(values, clusters, seed=1), adjust_over_grid(values, clusters, seed=1)]

    whole = compute()
    monkeypatch.setattr(effects, "NUMBERS_AT_ONCE", 10_000)
    for part, at_once in zip(compute(), whole, strict=True):
        np.testing.assert_allclose(part, at_once, rtol=1e-12)


def test_many_clusters_take_little_memory() -> None:
    values, clusters = np.random.default_rng(0).normal(size=(2000, 1)), np.arange(2000)
    effects._draw_flips.cache_clear()
    tracemalloc.start()
    try:
        bound_sites(values, clusters, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        effects._draw_flips.cache_clear()
    assert peak < 4 * effects.N_FLIPS * len(
        clusters
    )  # as floating-point numbers, the flips alone would take twice that


def test_estimates_of_hardly_any_prompts() -> None:
    one = estimate_mean(np.array([0.3, 0.5]), np.array([0, 0]), seed=0)
    assert (one.effect, one.n_clusters) == (pytest.approx(0.4), 1)
    assert np.isnan([one.low, one.high, one.p]).all()
    few = estimate_mean(np.array([0.3, 0.5, 0.4, 0.1, 0.2]), np.arange(5), seed=0)
    assert np.isnan([few.low, few.high, few.detectable]).all()
    assert few.p == 2 / 2**5
    same = estimate_mean(np.zeros(9), np.arange(9), seed=0)
    assert np.isnan([same.low, same.high]).all()  # an interval of no width says too much
    assert same.p == 1
    assert "0.00 nats (no interval" in describe_effect(same.columns | {"effect": -1e-9})


def test_a_prompt_has_no_say_in_the_site_that_it_is_judged_by() -> None:
    rng = np.random.default_rng(0)
    values, clusters = 0.1 * rng.normal(size=(30, 5)), np.arange(30)
    values[:, 2] += 0.3
    values[7, 4] = 100.0
    chosen = choose_sites(values, clusters, seed=0)
    assert (chosen[7] == 2).all()
    assert (np.delete(chosen, 7, axis=0) == 4).mean() > 0.9
    together = np.where(np.isin(np.arange(30), [3, 7]), 3, np.arange(30))
    assert (choose_sites(values, np.unique(together, return_inverse=True)[1], seed=0)[[3, 7]] == 2).all()


def test_a_single_cluster_has_no_interval_of_any_site() -> None:
    values = np.array([[0.1, 0.5], [0.2, -0.5], [0.4, 0.3]])
    assert np.isnan(bound_sites(values, np.zeros(3, dtype=int), seed=0)).all()


def test_single_cluster_takes_the_best_site() -> None:
    assert (choose_sites(np.array([[0.0, 1.0], [0.0, 2.0]]), np.zeros(2, dtype=int), seed=0) == 1).all()


def test_sites_are_bounded_and_flips_are_exact() -> None:
    values = np.array([[1.0, -1.0], [1.5, -1.2], [0.9, -0.8], [1.1, -1.0], [1.3, -1.4], [0.8, -0.7], [1.2, -1.1]])
    clusters = np.arange(7)
    bounds = bound_sites(values, clusters, seed=0)
    assert bounds[:, 2].tolist() == [1, 1 / 2**7]
    for column, (low, high, _) in zip(values.T, bounds, strict=True):
        assert (low, high) == pytest.approx(invert_slowly(column, clusters), abs=2e-3)
    # All signs of a site agree, so only one of the 2^7 flips reaches its t there. The first site's t is the larger one,
    # so the second site's is also reached where the first site has all its signs.
    assert adjust_over_grid(values, clusters, seed=0) == pytest.approx([1 / 2**7, 1], abs=0.003)
    assert adjust_over_grid(-values, clusters, seed=0) == pytest.approx([1, 2 / 2**7], abs=0.003)


@pytest.mark.parametrize("design", [Design(), Design(n_prompts=300, n_clusters=15)])
def test_the_grid_test_keeps_its_level(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "N_FLIPS", 399)
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        clusters = draw_clusters(design, rng)
        p_values.append(adjust_over_grid(draw_effects("no effect", design, clusters, rng), clusters, seed).min())
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.08


def test_the_effect_at_chosen_sites_is_unbiased_and_that_of_the_best_site_is_not() -> None:
    rng, design = np.random.default_rng(0), Design()
    chosen, best = [], []
    for seed in range(100):
        clusters = draw_clusters(design, rng)
        values = draw_effects("no effect", design, clusters, rng)
        chosen.append(read_chosen(values, choose_sites(values, clusters, seed)).mean())
        best.append(values.mean(axis=0).max())
    assert abs(np.mean(chosen)) < 0.02
    assert np.mean(best) > 0.05
