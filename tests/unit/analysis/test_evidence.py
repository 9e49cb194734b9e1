"""Tests of how reliable best sites are, on data with a known answer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.averages import average_site
from memory_injections.analysis.evidence import assess_robustness, compare_with_random


def cells_of(changes: np.ndarray) -> pd.DataFrame:
    """Cells at one magnitude, where the injection multiplies the answer's probability by `changes[prompt, layer]`."""
    n_prompts, n_layers = changes.shape
    before = np.linspace(0.01, 0.05, n_prompts)
    index = pd.MultiIndex.from_product(
        [range(n_prompts), range(n_layers), [1.0]], names=["prompt_id", "layer", "magnitude"]
    )
    cells = index.to_frame(index=False)
    cells["p_obscure"] = before.repeat(n_layers)
    cells["p_injected"] = cells["p_obscure"] * changes.ravel()
    return cells.assign(logp_injected=np.log(cells["p_injected"]))


def test_a_site_that_one_prompt_makes_best_does_not_hold_on_others() -> None:
    changes = np.full((40, 3), 0.9)
    changes[0, 1] = 15.0  # one prompt alone makes layer 1 good
    changes[:, 2] = 1.05  # every prompt gains at layer 2
    table = assess_robustness(cells_of(changes), seed=0).set_index("best_by")
    assert table.loc["mean", "layer"] == 1
    assert table.loc["mean", "chosen_on_all"] == pytest.approx(100 * (0.9 * 39 + 15) / 40 - 100)
    # A half without that prompt chooses layer 2. A half with it chooses layer 1, where the other half has -10 %.
    assert table.loc["mean", "held_out"] < 6
    assert table.loc["mean", "held_out_low"] == pytest.approx(-10)
    assert table.loc["mean", "held_out_high"] == pytest.approx(5)
    assert table.loc["mean", "mean_low"] == pytest.approx(-10)
    assert table.loc["mean", "mean_high"] > 60
    assert table.loc["mean", "improved"] == pytest.approx(1 / 40)
    assert table.loc["median", ["layer", "improved"]].tolist() == [2, 1]
    assert table.loc["median", "held_out"] == pytest.approx(5)


def test_intervals_hold_the_averages_and_are_seeded() -> None:
    changes = np.exp(np.random.default_rng(1).normal(0.2, 0.5, (80, 2)))
    cells = cells_of(changes)
    table = assess_robustness(cells, seed=3)
    pd.testing.assert_frame_equal(table, assess_robustness(cells, seed=3))
    row = table.iloc[0]
    averages = average_site(cells[cells["layer"] == row["layer"]])
    for name in ("mean", "mean_without_top", "median", "ratio_of_means"):
        assert row[f"{name}_low"] < averages[name] < row[f"{name}_high"]
    width = row["mean_high"] - row["mean_low"]
    factor = changes[:, int(row["layer"])]
    assert width == pytest.approx(100 * 2 * 1.96 * factor.std() / np.sqrt(80), rel=0.15)


def test_the_test_against_random_memories_is_paired_and_corrected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    random = np.exp(rng.normal(0, 1, (60, 20)))
    curated = random * np.exp(rng.normal(0, 0.1, (60, 20)))
    curated[:, :5] *= 1.1  # prompts differ far more from each other than curated does from random
    curated[:, 5] /= 1.1
    cells_of(random).to_parquet(tmp_path / "nouns.parquet")
    table = compare_with_random(cells_of(curated), {"nouns": tmp_path / "nouns.parquet"}, reported=(5, 1.0))
    assert table["site"].tolist() == ["best mean", "best median", "the authors'"]
    assert table.iloc[2]["difference"] == pytest.approx(-np.log(1.1), abs=0.05)
    assert table.iloc[2]["q"] < 1e-3
    row = table.iloc[0]
    assert row["n_sites"] == 20
    assert row["n_better"] in (5, 6)
    assert row["n_worse"] in (1, 2)
    cells_of(random).query("layer < 2").to_parquet(tmp_path / "nouns.parquet")
    assert compare_with_random(cells_of(curated), {"nouns": tmp_path / "nouns.parquet"}).iloc[0]["n_sites"] == 2


def test_a_memory_that_changes_nothing_is_no_evidence(tmp_path: Path) -> None:
    cells = cells_of(np.full((10, 2), 1.5))
    cells.to_parquet(tmp_path / "nouns.parquet")
    row = compare_with_random(cells, {"nouns": tmp_path / "nouns.parquet"}).iloc[0]
    assert (row["n_better"], row["n_worse"], row["q"], row["difference"]) == (0, 0, 1, 0)


def test_answers_that_are_impossible_are_no_evidence_either(tmp_path: Path) -> None:
    changes = np.full((10, 2), 1.5)
    changes[:3] = 0
    with np.errstate(divide="ignore"):
        cells = cells_of(changes)
    cells.loc[cells["prompt_id"] == 9, "p_obscure"] = 0
    cells.to_parquet(tmp_path / "nouns.parquet")
    assert compare_with_random(cells, {"nouns": tmp_path / "nouns.parquet"}).iloc[0]["q"] == 1
    row = assess_robustness(cells, seed=0).iloc[0]
    assert (row["n_prompts"], row["improved"]) == (9, pytest.approx(6 / 9))


def test_chance_among_many_sites_is_not_significant(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    curated, random = (cells_of(np.exp(rng.normal(0, 0.3, (40, 200)))) for _ in range(2))
    random.to_parquet(tmp_path / "nouns.parquet")
    row = compare_with_random(curated, {"nouns": tmp_path / "nouns.parquet"}).iloc[0]
    assert row["n_sites"] == 200
    assert row["n_better"] + row["n_worse"] <= 1  # without correction, about ten
