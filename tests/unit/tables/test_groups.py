"""Tables of parts of the prompts, from the files that jobs have written."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from memory_injections.sweeps.identity import SweepId
from memory_injections.tables.groups import breakdown, population_table

N_PROMPTS = 20
OF = {"model": "m", "dataset": "d"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    """Memories in two encodings, of which one helps, in works more than in places; no paper has numbers of it."""
    prompts = range(N_PROMPTS)
    pairs = pd.DataFrame({"prompt_id": prompts, "memory": [f"Ada {name}" for name in prompts]}).assign(dataset="d")
    pairs["explicit_prompt"] = pairs["memory"] + " was born in"
    pairs["topic"] = ["works" if name % 2 else "places" for name in prompts]
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    (tmp_path / "paper.json").write_text(json.dumps({"sites": {}, "values": {}}))
    pd.DataFrame({"prompt_id": prompts, "counted": [name < 16 for name in prompts]}).assign(
        **OF, both_hops_known=True, composition_missed=False, words=False, without_entity=False, without_relation=False
    ).to_parquet(tmp_path / "population.parquet")
    cells = []
    for encoding, effect in (("unembed", 0.5), ("embed", -0.5)):
        sweep = SweepId("m", "d", "curated", encoding, relative=True)
        table = pd.DataFrame({"prompt_id": np.repeat(prompts, 2), "layer": [0, 1] * N_PROMPTS, "magnitude": 1.0})
        after = -3 + effect * (1 + table["prompt_id"] % 2) * table["layer"]
        table = table.assign(logp_obscure=-3.0, logp_injected=after, p_explicit=0.1, p_obscure=np.exp(-3.0))
        table = table.assign(p_injected=np.exp(after), rank_obscure=1, rank_injected=1, **sweep.columns)
        cells.append(tmp_path / f"{encoding}.parquet")
        table.to_parquet(cells[-1])
    one = {name: [tmp_path / f"{name}"] for name in ("pairs.csv", "paper.json", "population.parquet")}
    return {"cells": cells, **{name.partition(".")[0]: paths for name, paths in one.items()}}


def test_how_many_prompts_count(files: dict[str, list[Path]]) -> None:
    (row,) = population_table(files["population"], files["pairs"], "both_hops_known")["population"].to_dict("records")
    assert (row["model"], row["population"], row["n_prompts"], row["n_counted"]) == ("m", "both_hops_known", 20, 16)
    assert row["n_clusters"] == 1  # all ask for the same


def test_groups_of_what_verdicts_are_about(files: dict[str, list[Path]]) -> None:
    without = dict.fromkeys(("control_cells", "control_sites", "control_texts"), ())
    break_down: Callable[..., pd.DataFrame] = partial(breakdown, **without, kinds=[], seed=0, outcome="first_token")
    table = break_down(**files, by=["topic"])
    assert (set(table["encoding"]), set(table["relative"])) == ({"any"}, {True})
    assert table.set_index("group")["effect"].to_dict() == pytest.approx({"works": 1.0, "places": 0.5})
    assert (table["n_prompts"] == 8).all()
    assert table["contrast"].isna().all()
    everything = break_down(**files | {"population": []}, by=["topic"])
    assert (everything["n_prompts"] == 10).all()
    assert break_down(**files, by=["relation"]).empty  # there is one only
