"""Averages and best sites, on numbers that can be checked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from authors_files import read_sweep
from conftest import ROOT
from memory_injections.analysis.averages import (
    AVERAGES,
    LEAST_LOGP,
    average_site,
    average_sites,
    find_best_site,
    keep_within_2sd,
    select_site,
)
from memory_injections.paper.reported import find_reported_site
from memory_injections.sweeps.identity import SweepId


def cells(p_obscure: list[float], p_injected: list[float], layer: int = 0) -> pd.DataFrame:
    table = pd.DataFrame({"layer": layer, "magnitude": 1.0, "p_obscure": p_obscure, "p_injected": p_injected})
    with np.errstate(divide="ignore"):
        logs = {f"logp_{kind}": np.log(table[f"p_{kind}"]) for kind in ("obscure", "injected")}
    return table.assign(prompt_id=range(len(table)), **logs)


def test_averages_of_four_prompts() -> None:
    numbers = average_site(cells([0.1, 0.2, 0.001, 0.4], [0.2, 0.1, 0.011, 0.4]))
    assert numbers["mean"] == pytest.approx((100 - 50 + 1000 + 0) / 4)
    assert numbers["mean_without_top"] == pytest.approx(50 / 3)
    assert numbers["median"] == pytest.approx(50)
    assert numbers["ratio_of_means"] == pytest.approx(100 * (0.711 / 0.701 - 1))
    assert numbers["mean_within_2sd"] == numbers["mean"]
    assert numbers["effect"] == pytest.approx((np.log(2) - np.log(2) + np.log(11) + 0) / 4)
    assert numbers["effect_median"] == pytest.approx(np.log(2) / 2)
    assert (numbers["n_improved"], numbers["n_prompts"]) == (2, 4)


def test_the_papers_average_drops_what_is_beyond_two_standard_deviations_once() -> None:
    changes = np.array([10.0] * 8 + [20.0, 1000.0])
    kept = keep_within_2sd(changes[:, None])[:, 0]
    assert kept.tolist() == [True] * 9 + [False]
    numbers = average_site(cells([0.01] * 10, list(0.01 * (1 + changes / 100))))
    assert numbers["mean_within_2sd"] == pytest.approx(100 / 9)


def test_a_probability_of_zero_has_an_effect_but_no_percent_change() -> None:
    table = cells([0.0, 0.1], [0.1, 0.2])
    numbers = average_site(table)
    assert (numbers["mean"], numbers["n_prompts"]) == (pytest.approx(100), 1)
    assert numbers["effect"] == pytest.approx((np.log(0.1) - LEAST_LOGP + np.log(2)) / 2)


@pytest.mark.parametrize(("n", "dropped"), [(100, 1), (106, 2), (1000, 10)])
def test_the_top_percent_is_rounded_up(n: int, dropped: int) -> None:
    changes = np.arange(n) + 1.0
    numbers = average_site(cells([1.0] * n, list(1 + changes / 100)))
    assert numbers["mean_without_top"] == pytest.approx(changes[: n - dropped].mean())


def test_best_site_depends_on_the_average() -> None:
    outlier = cells([0.001, 0.5, 0.5], [0.1, 0.4, 0.4], layer=0)
    steady = cells([0.001, 0.5, 0.5], [0.0011, 0.55, 0.55], layer=1)
    sites = average_sites(pd.concat([outlier, steady]))
    assert find_best_site(sites, "mean") == (0, 1.0)
    assert find_best_site(sites, "median") == (1, 1.0)
    assert select_site(steady, 0, 1.0).empty


@pytest.mark.parametrize(
    ("model", "dataset", "site", "averages"),
    [
        ("gpt2", "hand", (6, 3), (44.895, 73.1, 53.0, 29.3, 22.1)),
        ("gpt2-large", "hand", (13, 10), (68.471, 115.2, 68.5, 3.5, 5.9)),
        ("gpt2", "2wmh", (5, 5), (423.734, 1153.9, 277.7, -23.7, -25.7)),
    ],
)
def test_averages_at_the_authors_sites(
    authors: Path, model: str, dataset: str, site: tuple[int, float], averages: tuple[float, ...]
) -> None:
    name = SweepId(model, dataset, "curated", "unembed")
    paper = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text(encoding="utf-8"))
    assert find_reported_site(name, paper) == site
    found = average_site(select_site(read_sweep(authors, name), *site))
    np.testing.assert_allclose(found[list(AVERAGES)], averages, atol=0.051)
    assert found["mean_within_2sd"] == pytest.approx(averages[0], abs=5e-4)


def test_sites_are_told_apart_however_close_their_magnitudes_are() -> None:
    close = pd.concat([cells([0.1], [0.2]).assign(magnitude=magnitude) for magnitude in (0.0, 1e-9, 1.0, 1 + 1e-9)])
    for magnitude in close["magnitude"]:
        assert select_site(close, 0, magnitude)["magnitude"].tolist() == [magnitude]
