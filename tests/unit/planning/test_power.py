"""What a study can find before it runs, against the power of the t-test and against simulated studies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PAIRS, ROOT, tiny_study
from memory_injections.analysis.effects import invert_sign_flips
from memory_injections.config.study import parse_study
from memory_injections.data.sources import DataSource
from memory_injections.planning import power
from memory_injections.planning.power import (
    OF_CLUSTER,
    TYPICAL_DEVIATION,
    find_cluster_sizes,
    find_deviation,
    find_needed,
    list_known_sizes,
    simulate_detectable,
    tabulate_power,
)
from memory_injections.sweeps.identity import SweepId
from statsmodels.stats.power import TTestPower

KNOWN = {"source": "huggingface", "repo": "a/b", "file": "data/multi_hop_1000.csv"}
UNEQUAL = list_known_sizes("multi_hop_1000.csv")


def read_dataset(**source: Any) -> DataSource:
    return parse_study(tiny_study(ROOT, datasets={"d": source})).datasets["d"]


def draw_prompts(sizes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Effects of prompts with a mean of 0 and a variance of 1, and their clusters."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    common, own = rng.normal(size=len(sizes)), rng.normal(size=len(clusters))
    return np.sqrt(OF_CLUSTER) * common[clusters] + np.sqrt(1 - OF_CLUSTER) * own, clusters


@pytest.mark.parametrize("n_prompts", [12, 72, 400])
def test_with_single_prompts_it_is_the_power_of_the_t_test(n_prompts: int) -> None:
    sizes, by_t = np.ones(n_prompts, dtype=int), TTestPower()
    least = by_t.solve_power(nobs=n_prompts, alpha=0.05, power=0.8)
    assert simulate_detectable(sizes, seed=0) == pytest.approx(least, rel=0.04)
    difference = 3 / n_prompts**0.5
    needed = find_needed(sizes, difference, seed=1)
    assert needed is not None
    assert len(needed) == pytest.approx(by_t.solve_power(effect_size=difference, alpha=0.05, power=0.8), rel=0.1)


@pytest.mark.parametrize("sizes", [UNEQUAL, np.full(20, 5), np.array([9, *[1] * 30])])
def test_of_studies_with_the_least_effect_four_in_five_find_it(sizes: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_prompts(sizes, rng) for _ in range(500)]
    totals = np.stack([np.bincount(clusters, effects) for effects, clusters in drawn], axis=1)
    found = totals + simulate_detectable(sizes, seed=0) * sizes[:, None]
    assert (invert_sign_flips(found, sizes, seed=1, n_flips=1999)[:, 0] > 0).mean() == pytest.approx(0.8, abs=0.05)


def test_unequal_clusters_need_more_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "MOST_CLUSTERS", 200)
    equal = np.full(20, 50)
    assert equal.sum() == UNEQUAL.sum()
    assert simulate_detectable(UNEQUAL, seed=0) > 1.5 * simulate_detectable(equal, seed=0)
    for needed, sizes in ((find_needed(sizes, 0.3, seed=0), sizes) for sizes in (UNEQUAL, equal)):
        assert needed is not None
        assert set(needed) <= set(sizes)
        assert needed.mean() == pytest.approx(sizes.mean(), rel=0.1)
        n_effective = needed.sum() ** 2 / (needed**2).sum()
        by_formula = (1.96 + 0.84) * np.sqrt(OF_CLUSTER / n_effective + (1 - OF_CLUSTER) / needed.sum())
        assert by_formula == pytest.approx(0.3, rel=0.12)
    assert find_needed(UNEQUAL, 0.01, seed=0) is None


def test_few_clusters_find_nothing() -> None:
    study = parse_study(tiny_study(ROOT, datasets={"d": {"source": "file", "path": str(PAIRS), "rows": 5}}))
    assert tabulate_power(study, {"d": 5}, 1.0)["finds"].tolist() == ["nothing"]


def test_where_cluster_sizes_are_from(tmp_path: Path) -> None:
    pd.read_csv(PAIRS).head(6).assign(kind=list("aabbbc")).to_csv(tmp_path / "pairs.csv", index=False)
    here = {"source": "file", "path": str(tmp_path / "pairs.csv")}
    for source, n_prompts, expected, origin in [
        (here, 6, [1] * 6, here["path"]),
        (here | {"cluster": "kind"}, 6, [3, 2, 1], here["path"]),
        (KNOWN, 1000, UNEQUAL.tolist(), "known.yaml"),
        (KNOWN | {"cluster": "kind"}, 5, [1] * 5, "assumed: one prompt each"),
        ({"source": "url", "url": "https://a.org/b.csv", "sha256": 64 * "0"}, 5, [1] * 5, "assumed: one prompt each"),
    ]:
        sizes, found = find_cluster_sizes(read_dataset(**source), n_prompts)
        assert sizes.tolist() == expected
        assert found.endswith(origin)


def test_a_part_of_known_data_is_an_even_one() -> None:
    sizes, _ = find_cluster_sizes(read_dataset(**KNOWN, rows=100), 100)
    assert sizes.sum() == 100
    assert sizes[:4] == pytest.approx(UNEQUAL[:4] / 10, abs=1)


def test_a_study_with_evidence_says_how_much_effects_vary(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    rows = []
    for model, memories, deviation in [("a", "curated", 0.5), ("b", "curated", 0.7), ("c", "curated", 0.4),
                                       ("a-untrained", "curated", 0.01), ("a", "nouns", 9)]:  # fmt: skip
        sweep = SweepId(model, "d", memories, "embed", relative=True)
        path = tmp_path / "injections" / f"{sweep.path}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        effects = deviation * np.array([-1.5, -0.5, 0.5, 1.5]) / np.std([-1.5, -0.5, 0.5, 1.5], ddof=1)
        cells = pd.DataFrame({"logp_obscure": -5.0, "logp_injected": [*(effects - 5), -1, -9], "magnitude": 0.1})
        cells.assign(layer=[2, 2, 2, 2, 3, 3], **sweep.columns).to_parquet(path)
        rows.append(sweep.columns | {"encoding": "any", "chosen_encoding": "embed", "layer": 2, "magnitude": 0.1})
    rows.append(rows[0] | {"model": "removed"})
    pd.DataFrame(rows).to_csv(tmp_path / "tables" / "evidence.csv", index=False)
    assert find_deviation("d", tmp_path) == (pytest.approx(0.5), str(tmp_path / "tables" / "evidence.csv"))
    for other in (("e", tmp_path), ("d", tmp_path / "tables"), ("d", None)):
        assert find_deviation(*other) == (TYPICAL_DEVIATION, "the default study")


def test_the_documented_example_is_that_of_the_default_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study = parse_study(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    table = tabulate_power(study, {"pairs": 72}, study.margin)
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    assert table.to_string(index=False) in page
    row = table.loc[0]
    assert f"With {row['clusters']} clusters of prompts, the test of the mean effect (a sign-flip test at 5 %)" in page
    assert f"*finds* {row['finds']} nats" in page
    assert f"takes about {row['clusters for 0.1']} clusters" in page
    assert f"{100 * OF_CLUSTER:.0f} % of their variance" in page
