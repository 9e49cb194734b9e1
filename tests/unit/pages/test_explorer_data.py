"""The data packed into the explorer's page."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_tables import LAYERS, MAGNITUDES, N_PROMPTS, OURS, RANDOM, THEIRS, tables_in, unpack
from memory_injections.analysis.averages import AVERAGES, EFFECTS, average_sites, measure_effect
from memory_injections.pages import explorer_data
from memory_injections.sweeps.identity import SweepId

RANKS = ("rank_obscure", "rank_injected")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


def test_log_probabilities_survive_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    for lowest in (-5, -40, -103):
        logp = rng.uniform(lowest, 0, 20_000)
        logp[:3] = (-np.inf, 0, lowest)
        codes, step = explorer_data.quantise(logp)
        back = (codes.astype("float64") - 65535) * step
        assert (codes == 1).tolist() == np.isneginf(logp).tolist()
        assert codes.min() == 1
        error = np.abs(back - logp)[1:]
        assert error.max() <= step / 2 * (1 + 1e-9) < 8e-4
        assert error[0] == 0


def test_probability_zero_stays_apart(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS])
    zero = cells["p_injected"].to_numpy() == 0
    packed = unpack(explorer_data.pack_cells(cells))
    assert zero.any()
    assert ((packed["logp_injected"] == 1) == zero).all()
    effect = packed["least_logp"] - packed["logp_obscure"][cells["prompt_id"]]
    assert effect[zero] == pytest.approx(measure_effect(cells)[zero], abs=1e-5)


def test_measures_are_those_of_the_analysis(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS])
    packed = unpack(explorer_data.pack_sites(cells))
    expected = average_sites(cells)
    assert packed["layers"] == list(LAYERS)
    assert packed["magnitudes"] == list(MAGNITUDES)
    for name in [*AVERAGES, *EFFECTS, "n_improved", "n_prompts"]:
        assert packed[name].tolist() == expected[name].tolist()
    was, hit = (cells.assign(hit=cells[rank] == 0).groupby(["layer", "magnitude"])["hit"] for rank in RANKS)
    assert packed["hits_1_before"].tolist() == was.mean().tolist()
    assert packed["hits_1"].tolist() == hit.mean().tolist()
    saved = cells.assign(saved=(cells[RANKS[0]] > 0) & (cells[RANKS[1]] == 0)).groupby(["layer", "magnitude"])["saved"]
    assert packed["n_rescued"].tolist() == saved.sum().tolist()
    assert packed["n_hit"].tolist() == was.sum().tolist()
    assert (packed["n_missed"] + packed["n_hit"] == N_PROMPTS).all()
    assert (packed["n_hit"] - packed["n_broken"] + packed["n_rescued"]).tolist() == hit.sum().tolist()
    one_site_less = cells[(cells["layer"] != 4) | (cells["magnitude"] != 1)]
    packed = unpack(explorer_data.pack_sites(one_site_less))
    for name in ("mean", "effect", "hits_1"):
        assert np.flatnonzero(np.isnan(packed[name])).tolist() == [4 * 3 + 1]
    theirs = unpack(explorer_data.pack_sites(pd.read_parquet(tables["sweeps"][THEIRS])))
    assert not {"hits_1", "n_rescued", "n_broken"} & set(theirs)


@pytest.mark.parametrize("name", [OURS, RANDOM, THEIRS], ids=lambda name: f"{name.model} {name.memories}")
def test_cells_are_those_of_the_table(name: SweepId, tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][name]).drop(index=5)
    packed = unpack(explorer_data.pack_cells(cells.sample(frac=1, random_state=0)))
    assert packed["logp_injected"][5] == 0
    present = np.delete(np.arange(len(cells) + 1), 5)
    rounded = np.exp((packed["logp_injected"][present].astype("float64") - 65535) * packed["step"])
    possible = cells["p_injected"].to_numpy() > 0
    assert rounded[possible] == pytest.approx(cells["p_injected"][possible], rel=8e-4)
    memories = packed["memory"][present if name == RANDOM else cells["prompt_id"]]
    assert [packed["memories"][code] for code in memories] == cells["memory"].tolist()
    if name == THEIRS:
        assert [packed["tokens"][code] for code in packed["top_token"][present]] == [
            f"token {number}" for number in cells["top_token_id"]
        ]
        assert not {"rank_obscure", "rank_injected"} & set(packed)
    else:
        assert (packed["rank_injected"][present] - 1 == cells["rank_injected"]).all()
        assert [packed["tokens"][code] for code in packed["top_token"][present]] == cells["top_token"].tolist()
    assert [packed["token_ids"][code] for code in packed["top_token"][present]] == cells["top_token_id"].tolist()


def test_tokens_of_one_text_stay_apart(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS]).assign(top_token="\ufffd")
    packed = unpack(explorer_data.pack_cells(cells))
    assert [packed["token_ids"][code] for code in packed["top_token"]] == cells["top_token_id"].tolist()


def test_what_is_known_of_prompts(tables: dict[str, Any]) -> None:
    tokens = pd.Series([[101 + 3 * number, 102 + 3 * number] for number in range(N_PROMPTS)])
    packed = unpack(explorer_data.pack_prompts(tokens, tables["texts"]["gpt2/hand"]))
    assert packed["prompt_id"] == list(range(N_PROMPTS))
    assert packed["memory_tokens"] == tokens.tolist()
    assert packed["hops_rank"] == [number % 4 for number in range(N_PROMPTS - 1)] + [None]
    assert packed["top_token"] == [f" before {number}" for number in range(N_PROMPTS)]
    assert not {"hops_rank", "top_token"} & set(unpack(explorer_data.pack_prompts(tokens, None)))
