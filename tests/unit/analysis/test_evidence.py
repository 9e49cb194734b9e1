"""The tables of evidence, on sweeps whose answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import ALL_RANDOM, TABLES, SweepEffects, assess_sweeps
from memory_injections.sweeps.identity import SweepId

N_PROMPTS = 60
HOPS = ["The spouse of {} is", "The child of {} is", "{} was born in"]


def pairs() -> pd.DataFrame:
    """Prompts of two last hops that are half of them each, but for three of a third one; each memory is used twice."""
    memories = [f"Person {index // 2}" for index in range(N_PROMPTS)]
    hops = [HOPS[2 if index < 3 else index % 2] for index in range(N_PROMPTS)]
    explicit = [hop.format(memory) for hop, memory in zip(hops, memories, strict=True)]
    return pd.DataFrame(
        {"prompt_id": range(N_PROMPTS), "explicit_prompt": explicit, "memory": memories, "dataset": "mine"}
    )


def cells(effects: np.ndarray, ranks: bool = True) -> pd.DataFrame:
    """Cells at one magnitude with these effects[prompt, layer] in nats."""
    n_prompts, n_layers = effects.shape
    index = pd.MultiIndex.from_product(
        [range(n_prompts), range(n_layers), [1.0]], names=["prompt_id", "layer", "magnitude"]
    )
    table = index.to_frame(index=False)
    table["p_obscure"] = np.linspace(0.01, 0.05, n_prompts).repeat(n_layers)
    table["p_injected"] = table["p_obscure"] * np.exp(effects.ravel())
    table["p_explicit"] = 2 * table["p_obscure"]
    table["rank_obscure"], table["rank_injected"] = 3, np.where(effects.ravel() > 0, 0, 3)
    if not ranks:
        table = table.assign(rank_obscure=np.nan, rank_injected=np.nan)
    return table.assign(**{f"logp_{kind}": np.log(table[f"p_{kind}"]) for kind in ("obscure", "injected")})


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pd.DataFrame]:
    """Evidence on a curated sweep that helps spouses at layer 1 and harms children less, and on two random ones."""
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(N_PROMPTS, 3))
    is_spouse = (np.arange(N_PROMPTS) % 2 == 0)[:, None]
    curated = noise + np.array([-0.2, 0.0, -0.3]) + np.array([0.0, 0.9, 0.0]) * is_spouse
    sweeps = {}
    for memories, effects in {"curated": curated, "nouns": noise - 0.1, "verbs": noise - 0.3}.items():
        sweep = SweepId("tiny", "mine", memories, "unembed")
        sweeps[sweep] = tmp_path / f"{memories}.parquet"
        cells(effects if memories != "verbs" else effects[:, :2]).to_parquet(sweeps[sweep])
    return assess_sweeps(sweeps, {"mine": pairs()}, seed=0)


def test_the_effect_is_that_of_the_site_that_helps(tables: dict[str, pd.DataFrame]) -> None:
    evidence = tables["evidence"].set_index("memories")
    curated = evidence.loc["curated"]
    assert curated["effect"] == pytest.approx(0.45, abs=0.05)
    assert np.isnan(curated["low"])  # with three clusters, no p-value is below 5 %
    assert (curated["layer"], curated["chosen_by"], curated["best_layer"]) == (1, 1, 1)
    assert curated["clusters"] == "last hop"
    assert (curated["n_prompts"], curated["n_clusters"], curated["n_sites"]) == (N_PROMPTS, 3, 3)
    assert curated["n_missed"] == N_PROMPTS
    assert curated["n_rescued"] == curated["n_improved"]
    assert evidence.loc["verbs", "p"] == 0.25


def test_contrasts_are_taken_prompt_by_prompt_at_shared_sites(tables: dict[str, pd.DataFrame]) -> None:
    contrasts = tables["contrasts"].set_index("memories")
    assert contrasts.index.tolist() == ["nouns", "verbs", ALL_RANDOM]
    # The noise is the same in all sweeps, so nothing but the constants is left.
    assert contrasts["effect"].tolist() == pytest.approx([0.55, 0.75, 0.65], abs=1e-3)
    assert contrasts["n_sites"].tolist() == [3, 2, 2]


def test_evidence_is_over_the_prompts_that_count(tmp_path: Path) -> None:
    """Evidence and contrasts change as if the others were not there; sites and explicit prompts do not."""
    rng, sweeps = np.random.default_rng(0), {}
    for memories in ("curated", "nouns"):
        sweeps[SweepId("tiny", "mine", memories, "unembed")] = tmp_path / f"{memories}.parquet"
        cells(rng.normal(size=(N_PROMPTS, 3))).to_parquet(tmp_path / f"{memories}.parquet")
    counted = pd.Index(range(10, 40))
    part = assess_sweeps(sweeps, {"mine": pairs()}, 0, {("tiny", "mine"): counted})
    whole = assess_sweeps(sweeps, {"mine": pairs()}, 0)
    for path in sweeps.values():
        pd.read_parquet(path).query("10 <= prompt_id < 40").to_parquet(path)
    others_gone = assess_sweeps(sweeps, {"mine": pairs()}, 0)
    for name in ("evidence", "contrasts"):
        pd.testing.assert_frame_equal(part[name], others_gone[name])
        assert (part[name]["n_prompts"] == 30).all()
    for name in ("sites", "explicit_prompts"):
        pd.testing.assert_frame_equal(part[name], whole[name])


def test_without_a_prompt_that_counts_there_is_a_row_that_says_so(tmp_path: Path) -> None:
    sweep = SweepId("tiny", "mine", "curated", "unembed")
    cells(np.ones((N_PROMPTS, 2))).to_parquet(tmp_path / "cells.parquet")
    none = {("tiny", "mine"): pd.Index([], dtype="int64")}
    tables = assess_sweeps({sweep: tmp_path / "cells.parquet"}, {"mine": pairs()}, 0, none)
    (row,) = tables["evidence"].to_dict("records")
    assert (row["n_prompts"], row["n_clusters"], row["clusters"]) == (0, 0, "last hop")
    assert np.isnan(row["effect"])
    assert {name: list(tables[name].columns) for name in TABLES} == TABLES


def test_explicit_prompts_and_sites(tables: dict[str, pd.DataFrame]) -> None:
    explicit = tables["explicit_prompts"].iloc[0]
    assert explicit["effect"] == pytest.approx(np.log(2))
    sites = tables["sites"].query("memories == 'curated'").set_index("layer")
    assert sites.loc[0, "p_above"] == 1
    assert sites.loc[0, "n_rescued"] <= sites.loc[1, "n_rescued"]
    assert len(tables["sites"]) == 3 + 3 + 2


def test_cells_without_ranks_or_random_words(tmp_path: Path) -> None:
    sweep = SweepId("tiny", "mine", "curated", "unembed")
    table = cells(np.random.default_rng(0).normal(size=(N_PROMPTS, 2)), ranks=False)
    table.to_parquet(tmp_path / "cells.parquet")
    tables = assess_sweeps({sweep: tmp_path / "cells.parquet"}, {"mine": pairs()}, seed=0)
    assert tables["evidence"]["n_rescued"].isna().all()
    assert tables["contrasts"].empty
    assert {name: list(tables[name].columns) for name in TABLES} == TABLES


def test_evidence_is_seeded() -> None:
    table = cells(np.random.default_rng(1).normal(size=(N_PROMPTS, 4)))
    groups = cluster_prompts(pairs())
    one, same = (SweepEffects.of_cells(table, groups, seed=3) for _ in range(2))
    pd.testing.assert_series_equal(one.effects, same.effects)
