"""The data packed into the explorer's page."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_tables import LAYERS, MAGNITUDES, OURS, RANDOM, THEIRS, tables_in, unpack
from memory_injections.analysis.averages import AVERAGES, EFFECTS, average_sites
from memory_injections.analysis.hits import count_hits_by_site
from memory_injections.pages import explorer_data
from memory_injections.sweeps.identity import SweepId


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


def test_log_probabilities_survive_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    for lowest in (-5, -40, -103):
        logp = rng.uniform(lowest, 0, 20_000)
        logp[:2] = (-np.inf, 0)
        codes, step = explorer_data.quantise(logp)
        back = (codes.astype("float64") - 65535) * step
        assert (codes == 1).tolist() == np.isinf(logp).tolist()
        assert codes.min() == 1
        error = np.abs(back - logp)[1:]
        assert error.max() <= step / 2 * (1 + 1e-9) < 8e-4
        assert error[0] == 0


def test_averages_are_those_of_statistics(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS])
    packed = unpack(explorer_data.pack_sites(cells))
    expected = average_sites(cells)
    assert packed["layers"] == list(LAYERS)
    assert packed["magnitudes"] == list(MAGNITUDES)
    for name in [*AVERAGES, *EFFECTS, "n_improved", "n_prompts"]:
        assert packed[name].tolist() == expected[name].tolist()
    hits = count_hits_by_site(cells)
    for name in ("hits_1_before", "hits_1", "n_missed", "n_rescued", "n_hit", "n_broken"):
        assert packed[name].tolist() == hits[name].tolist()
    assert not {"hits_1", "n_hit"} & set(unpack(explorer_data.pack_sites(pd.read_parquet(tables["sweeps"][THEIRS]))))
    one_site_less = cells[(cells["layer"] != 4) | (cells["magnitude"] != 1)]
    packed = unpack(explorer_data.pack_sites(one_site_less))
    assert np.flatnonzero(np.isnan(packed["mean"])).tolist() == [4 * 3 + 1]


@pytest.mark.parametrize("name", [OURS, RANDOM, THEIRS], ids=lambda name: f"{name.model} {name.memories}")
def test_cells_are_those_of_the_table(name: SweepId, tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][name]).drop(index=5)
    packed = unpack(explorer_data.pack_cells(cells.sample(frac=1, random_state=0)))
    assert packed["logp_injected"][5] == 0
    present = np.delete(np.arange(len(cells) + 1), 5)
    rounded = (packed["logp_injected"][present].astype("float64") - 65535) * packed["step"]
    possible = cells["p_injected"].to_numpy() > 0
    assert rounded[possible] == pytest.approx(cells["logp_injected"][possible], abs=8e-4)
    assert (packed["logp_injected"][present][~possible] == 1).all()
    memories = packed["memory"][present if name == RANDOM else cells["prompt_id"]]
    assert [packed["memories"][code] for code in memories] == cells["memory"].tolist()
    if name == THEIRS:
        assert {packed["tokens"][code] for code in packed["top_token"][present]} == {"token 0"}
        assert not {"rank_obscure", "rank_injected"} & set(packed)
    else:
        assert (packed["rank_injected"][present] - 1 == cells["rank_injected"]).all()
        assert [packed["tokens"][code] for code in packed["top_token"][present]] == cells["top_token"].tolist()
