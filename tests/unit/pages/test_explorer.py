"""What the explorer's page packs, and that it fits."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_tables import LAYERS, MAGNITUDES, N_PROMPTS, OURS, RANDOM, THEIRS, grid, tables_in, unpack
from memory_injections.analysis.averages import AVERAGES, averages_by_site
from memory_injections.analysis.tables import table2
from memory_injections.pages import explorer
from memory_injections.pages import explorer_data as packing
from memory_injections.sweeps.identity import SweepId


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


def test_probabilities_survive_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    for lowest in (-5, -40, -103):
        p = np.exp(rng.uniform(lowest, 0, 20_000)).astype("float32").astype("float64")
        p[:3] = (0, 1, np.nextafter(np.float32(0), np.float32(1)) if lowest < -100 else p[3])
        codes, step = packing.quantised(p)
        back = np.exp((codes.astype("float64") - 65535) * step)
        assert (codes == 1).tolist() == (p == 0).tolist()
        assert codes.min() == 1
        error = np.abs(back[p > 0] / p[p > 0] - 1)
        assert error.max() <= np.expm1(step / 2) * (1 + 1e-9) < 8e-4
        assert error[0] == 0


def test_averages_are_those_of_statistics(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS])
    packed = unpack(packing.pack_sites(cells))
    expected = averages_by_site(cells)
    assert packed["layers"] == list(LAYERS)
    assert packed["magnitudes"] == list(MAGNITUDES)
    for name in [*AVERAGES, "n_improved", "n_prompts"]:
        assert packed[name].tolist() == expected[name].tolist()
    one_site_less = cells[(cells["layer"] != 4) | (cells["magnitude"] != 1)]
    packed = unpack(packing.pack_sites(one_site_less))
    assert np.flatnonzero(np.isnan(packed["mean"])).tolist() == [4 * 3 + 1]


@pytest.mark.parametrize("name", [OURS, RANDOM, THEIRS], ids=lambda name: f"{name.model} {name.memories}")
def test_cells_are_those_of_the_table(name: SweepId, tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][name]).drop(index=5)
    packed = unpack(packing.pack_cells(cells.sample(frac=1, random_state=0)))
    assert packed["p_injected"][5] == 0
    present = np.delete(np.arange(len(cells) + 1), 5)
    rounded = np.exp((packed["p_injected"][present].astype("float64") - 65535) * packed["step"])
    possible = cells["p_injected"].to_numpy() > 0
    assert rounded[possible] == pytest.approx(cells["p_injected"][possible], rel=8e-4)
    memories = packed["memory"][present if name == RANDOM else cells["prompt_id"]]
    assert [packed["memories"][code] for code in memories] == cells["memory"].tolist()
    if name == THEIRS:
        assert {packed["tokens"][code] for code in packed["top_token"][present]} == {"token 0"}
        assert not {"rank_obscure", "rank_injected"} & set(packed)
    else:
        assert (packed["rank_injected"][present] - 1 == cells["rank_injected"]).all()
        assert [packed["tokens"][code] for code in packed["top_token"][present]] == cells["top_token"].tolist()


def test_heads_are_those_of_table2(tables: dict[str, Any]) -> None:
    top, targets = tables["heads"]["gpt2", "hand"]
    packed = unpack(explorer.pack_heads(top, targets))
    assert packed["n_heads"] == explorer.N_HEADS
    shape = (N_PROMPTS, explorer.N_HEADS, 2)
    tokens = packed["token"].reshape(*shape, -1)
    for row in table2(top, targets, tables["pairs"]["hand"]).itertuples():
        first = row.prompt_id * explorer.N_HEADS
        assert (packed["layer"][first], packed["head"][first]) == (row.layer, row.head)
        for kind, name in enumerate(("explicit", "obscure")):
            says = " · ".join(packed["tokens"][code].strip() for code in tokens[row.prompt_id, 0, kind])
            assert says == getattr(row, f"says_{name}")
            assert packed["answer_rank"].reshape(shape)[row.prompt_id, 0, kind] == getattr(row, f"answer_rank_{name}")
            assert packed["memory_rank"].reshape(shape)[row.prompt_id, 0, kind] == getattr(row, f"memory_rank_{name}")
    logits = packed["answer_logit"].reshape(shape)
    assert (np.diff(logits[:, :, 0] - logits[:, :, 1]) <= 1e-6).all()


def test_a_large_study_fits(tables: dict[str, Any], tmp_path: Path) -> None:
    grid(1000, 36, 15).to_parquet(tmp_path / "large.parquet")
    page = explorer.render(**{**tables, "sweeps": {OURS: tmp_path / "large.parquet"}})
    assert '"has_cells": true' in page
    assert len(page.encode()) < 30e6


def test_what_does_not_fit_is_left_out(tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explorer.render(**tables)
    packed = sum(map(len, re.findall(r'<script type="text/plain" id="[^"]*">([^<]*)<', whole)))
    monkeypatch.setattr(explorer, "LIMIT", packed - 1)
    index = json.loads(re.findall(r'id="index">(.*?)</script>', explorer.render(**tables))[0])
    assert {sweep["memories"]: sweep["has_cells"] for sweep in index["sweeps"]} == {"curated": True, "nouns": False}
