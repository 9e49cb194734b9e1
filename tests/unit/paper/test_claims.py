"""Verdicts on the paper's claims, for cells with a known verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
from authors_files import TINY_CURATED, TINY_PAPER, TINY_RANDOM, read_sweep, write_authors_files
from memory_injections.paper.claims import judge_claims
from memory_injections.sweeps.identity import SweepId


def test_claims_that_hold_and_one_that_does_not(tmp_path: Path) -> None:
    root, paths = write_authors_files(tmp_path / "theirs"), {}
    for name in (TINY_CURATED, TINY_RANDOM):
        paths[name] = tmp_path / f"{name.memories}.parquet"
        read_sweep(root, name).to_parquet(paths[name])
    table = judge_claims(paths, TINY_PAPER)
    assert set(table["model"]) == {"gpt2"}
    assert set(table["dataset"]) == {"hand"}
    verdicts = table.set_index("claim")["verdict"]
    assert verdicts["5. The site that the authors report is the best"] == "holds"
    assert verdicts["2. A curated memory makes the answer more probable"] == "holds"
    assert verdicts["4. The answer's probability rises by up to 424 %"] == "does not hold"
    assert verdicts["3. Curated memories do better than random ones (nouns)"] == "holds"
    shown = table.set_index("claim")["figure"]
    assert shown["2. A curated memory makes the answer more probable"] == "change.gpt2.hand.curated.unembed.png"


def test_a_claim_that_one_prompt_carries_holds_only_in_the_mean(tmp_path: Path) -> None:
    cells = read_sweep(write_authors_files(tmp_path / "theirs"))
    here = (cells["layer"] == 1) & (cells["magnitude"] == 2)
    cells.loc[here, "p_injected"] = cells.loc[here, "p_obscure"] * 0.9
    cells.loc[here & (cells["prompt_id"] == 0), "p_injected"] = 0.999
    cells["logp_injected"] = np.log(cells["p_injected"])
    cells.to_parquet(tmp_path / "cells.parquet")
    verdicts = judge_claims({TINY_CURATED: tmp_path / "cells.parquet"}, TINY_PAPER)
    helps = verdicts.set_index("claim").loc["2. A curated memory makes the answer more probable"]
    assert helps["verdict"] == "holds only in the mean"
    assert "better for 1 of 6 prompts" in helps["evidence"]


def test_a_claim_that_chance_carries_does_not_hold(tmp_path: Path) -> None:
    changes = np.exp(np.random.default_rng(0).normal(0, 0.3, 200))
    assert changes.mean() > 1
    assert np.median(changes) > 1
    cells = pd.DataFrame({"prompt_id": range(200), "layer": 0, "magnitude": 1.0, "memory": "m"})
    cells = cells.assign(p_explicit=0.02, p_obscure=0.01, p_injected=0.01 * changes)
    cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    name = SweepId("gpt2", "mine", "curated", "unembed")
    for factor, verdict in ((1.0, "holds only in the mean"), (1.2, "holds")):
        path = tmp_path / "cells.parquet"
        cells.assign(
            p_injected=cells["p_injected"] * factor, logp_injected=cells["logp_injected"] + np.log(factor)
        ).to_parquet(path)
        table = judge_claims({name: path}, TINY_PAPER).set_index("claim")
        assert table.loc["2. A curated memory makes the answer more probable", "verdict"] == verdict
