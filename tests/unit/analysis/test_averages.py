"""Scores, averages and best sites, on numbers that can be checked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from memory_injections.analysis.averages import at_site, averages_by_site, best_site, site_averages
from memory_injections.models.scoring import probability_and_rank
from memory_injections.pages.figures import comparison


def cells(p_obscure: list[float], p_injected: list[float], layer: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"layer": layer, "magnitude": 1.0, "p_obscure": p_obscure, "p_injected": p_injected})


def test_probability_and_rank() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]])
    probability, rank = probability_and_rank(logits, torch.tensor([2, 0]))
    expected = [np.e / (1 + np.e + np.e**2), np.e**3 / (2 * np.e**3 + 1)]
    assert probability.tolist() == pytest.approx(expected)
    assert rank.tolist() == [1, 0]


def test_the_four_averages() -> None:
    numbers = site_averages(cells([0.1, 0.2, 0.001, 0.4], [0.2, 0.1, 0.011, 0.4]))
    assert numbers["mean"] == pytest.approx((100 - 50 + 1000 + 0) / 4)
    assert numbers["mean_without_top"] == pytest.approx(50 / 3)
    assert numbers["median"] == pytest.approx(50)
    assert numbers["ratio_of_means"] == pytest.approx(100 * (0.711 / 0.701 - 1))
    assert (numbers["n_improved"], numbers["n_prompts"]) == (2, 4)


@pytest.mark.parametrize(("n", "dropped"), [(100, 1), (106, 2), (1000, 10)])
def test_the_top_percent_is_rounded_up(n: int, dropped: int) -> None:
    changes = np.arange(n) + 1.0
    numbers = site_averages(cells([1.0] * n, list(1 + changes / 100)))
    assert numbers["mean_without_top"] == pytest.approx(changes[: n - dropped].mean())


def test_best_site_depends_on_the_average() -> None:
    outlier = cells([0.001, 0.5, 0.5], [0.1, 0.4, 0.4], layer=0)
    steady = cells([0.001, 0.5, 0.5], [0.0011, 0.55, 0.55], layer=1)
    sites = averages_by_site(pd.concat([outlier, steady]))
    assert best_site(sites, "mean") == (0, 1.0)
    assert best_site(sites, "median") == (1, 1.0)
    assert at_site(steady, 0, 1.0).empty


def test_comparison_draws_true_means_in_both_panels() -> None:
    table = cells([0.1, 0.1, 0.1], [0.1, 0.2, 10.0])
    figure = comparison({"curated": table, "nouns": table}, "curated", "title")
    for axes in figure.axes:
        diamonds = [line for line in axes.lines if line.get_marker() == "D"]
        values = [float(np.asarray(line.get_ydata())[0]) for line in diamonds]
        assert values == pytest.approx([3333.333, 3333.333], rel=1e-4)


def test_no_prompt_falls_off_the_axis() -> None:
    curated = pd.concat([cells([0.1] * 3, [0.09, 0.1, 0.3]), cells([0.1] * 3, [0.09, 0.11, 0.11], layer=1)])
    random = pd.concat([cells([0.1] * 3, [0.1, 0.1, 0.1]), cells([0.1] * 3, [0.0001, 0.1, 30.0], layer=1)])
    for axes in comparison({"curated": curated, "nouns": random}, "curated", "title").axes:
        low, high = axes.get_ylim()
        dots = np.concatenate([np.asarray(dots.get_offsets())[:, 1] for dots in axes.collections])
        assert low < dots.min()
        assert dots.max() < high
