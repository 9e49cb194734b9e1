"""What the explorer's page shows, and that it stays within its size limit."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_tables import N_PROMPTS, OURS, grid, tables_in, unpack
from memory_injections.analysis.paper_tables import build_table2
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.pages import explorer
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


def test_heads_are_those_of_table2(tables: dict[str, Any]) -> None:
    top, targets = tables["heads"][0]
    packed = unpack(explorer.pack_heads(top, targets))
    assert packed["n_heads"] == explorer.N_HEADS
    shape = (N_PROMPTS, explorer.N_HEADS, 2)
    tokens = packed["token"].reshape(*shape, -1)
    for row in build_table2(tables["heads"], tables["pairs"]).itertuples():
        first = row.prompt_id * explorer.N_HEADS
        assert (packed["layer"][first], packed["head"][first]) == (row.layer, row.head)
        for kind, name in enumerate(("explicit", "obscure")):
            says = " · ".join(packed["tokens"][code].strip() for code in tokens[row.prompt_id, 0, kind])
            assert says == getattr(row, f"says_{name}")
            assert packed["answer_rank"].reshape(shape)[row.prompt_id, 0, kind] == getattr(row, f"answer_rank_{name}")
            memory_rank = min(getattr(row, f"{target}_rank_{name}") for target in ("memory", "injected"))
            assert packed["memory_rank"].reshape(shape)[row.prompt_id, 0, kind] == memory_rank
    lowest = np.minimum(packed["answer_rank"], packed["memory_rank"]).reshape(shape)[:, :, 0]
    assert (np.diff(lowest) >= 0).all()


def test_a_large_study_fits(tables: dict[str, Any], tmp_path: Path) -> None:
    grid(1000, 36, 15).to_parquet(tmp_path / "large.parquet")
    page = explorer.render_explorer(**{**tables, "sweeps": {OURS: tmp_path / "large.parquet"}})
    assert '"has_cells": true' in page
    assert len(page.encode()) < 30e6


def test_every_encoding_has_its_place(tables: dict[str, Any]) -> None:
    path = tables["sweeps"][OURS]
    kinds = [(encoding, relative) for relative in (False, True) for encoding in ENCODINGS]
    sweeps = {replace(OURS, encoding=encoding, relative=relative): path for encoding, relative in reversed(kinds)}
    index = json.loads(
        re.findall(r'id="index">(.*?)</script>', explorer.render_explorer(**{**tables, "sweeps": sweeps}))[0]
    )
    assert [sweep["encoding"] for sweep in index["sweeps"]] == [
        encoding + "_relative" * relative for encoding, relative in kinds
    ]
    assert [sweep["dose"] for sweep in index["sweeps"]] == ["magnitude"] * len(ENCODINGS) + ["dose"] * len(ENCODINGS)


def test_what_does_not_fit_is_left_out(tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explorer.render_explorer(**tables)
    packed = sum(map(len, re.findall(r'<script type="text/plain" id="[^"]*">([^<]*)<', whole)))
    monkeypatch.setattr(explorer, "LIMIT", packed - 1)
    index = json.loads(re.findall(r'id="index">(.*?)</script>', explorer.render_explorer(**tables))[0])
    assert {sweep["memories"]: sweep["has_cells"] for sweep in index["sweeps"]} == {"curated": True, "nouns": False}


def test_what_cannot_fit_is_not_packed(tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid(100, 36, 15).to_parquet(tmp_path / "large.parquet")
    packed: dict[int, int] = {}

    def pack(cells: pd.DataFrame) -> str:
        page = pack_cells(cells)
        packed[len(cells)] = len(page)
        return page

    pack_cells = explorer.pack_cells
    monkeypatch.setattr(explorer, "pack_cells", pack)
    monkeypatch.setattr(explorer, "LIMIT", 50_000)
    sweeps = {**tables["sweeps"], replace(OURS, encoding="embed"): tmp_path / "large.parquet"}
    explorer.render_explorer(**{**tables, "sweeps": sweeps})
    assert 100 * 36 * 15 not in packed
    assert all(length > explorer.LEAST_CHARACTERS * n_cells for n_cells, length in packed.items())


def test_evidence_is_that_of_the_tables(tables: dict[str, Any]) -> None:
    evidence = tables["tables"]["evidence"]
    for row in evidence.to_dict("records"):
        name = SweepId(*(row[column] for column in ID_COLUMNS))
        found = explorer.find_evidence(name, tables["tables"])
        assert found["evidence"] == {column: row[column] for column in explorer.EVIDENCE}
        if name != OURS:
            assert found["contrasts"] == []
    contrasts = explorer.find_evidence(OURS, tables["tables"])["contrasts"]
    assert [(row["stand_in"], row["effect"], row["low"], row["other_effect"]) for row in contrasts] == [
        ("another prompt's memory", -0.25, None, 0.5),
        ("a random direction of the same length", 0.5, 0.25, -0.25),
        ("random words (nouns)", 0.5, 0.25, 0.13),
    ]
    assert explorer.find_evidence(OURS, {"evidence": evidence[:0]}) == {"evidence": None, "contrasts": []}


def test_keys_of_kept_links_are_measures(tables: dict[str, Any]) -> None:
    index = json.loads(re.findall(r'id="index">(.*?)</script>', explorer.render_explorer(**tables))[0])
    keys = [key for _, key, _ in index["measures"]]
    assert keys[0] == "effect"
    assert {"mean", "mean_without_top", "median", "ratio_of_means"} < set(keys)
    assert {sweep["dataset"]: sweep["has_ranks"] for sweep in index["sweeps"]} == {"hand": True, "2wmh": False}
