"""The sites that the paper reports by every rule of averaging, on the authors' files and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from authors_files import TINY_CURATED, TINY_PAPER, TINY_RANDOM, read_sweep, write_authors_files
from conftest import ROOT
from memory_injections.paper.headline import trace_headline
from memory_injections.sweeps.identity import SweepId
from network import CURATED_FOLDERS, fetch_authors

PAPER = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text(encoding="utf-8"))
RULE = "mean_within_2sd"


# The paper's numbers, from how many prompts they come, and their ranks in their grids.
NUMBERS = [("gpt2", "hand", 44.895, 102, 1), ("gpt2-large", "hand", 68.471, 104, 1), ("gpt2", "2wmh", 423.734, 997, 2)]


def trace(authors: Path, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, from the authors' files of the sites that the paper reports."""
    paths = {}
    for model, dataset, *_ in NUMBERS:
        sweep = SweepId(model, dataset, "curated", "unembed")
        paths[sweep] = folder / f"{model}.{dataset}.parquet"
        read_sweep(authors, sweep).to_parquet(paths[sweep])
    return trace_headline(paths, PAPER)


@pytest.fixture(scope="module")
def traced(authors: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    return trace(authors, tmp_path_factory.mktemp("cells"))


@pytest.mark.network
def test_the_authors_repository_gives_the_papers_numbers(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    fetch_authors(CURATED_FOLDERS, tmp_path / "theirs")
    assert {path.parent.relative_to(tmp_path / "theirs").as_posix() for path in tmp_path.rglob("*.csv")} == set(
        CURATED_FOLDERS
    )
    averages, _ = trace(tmp_path / "theirs", tmp_path)
    found = averages[averages["rule"] == RULE].set_index(["model", "dataset"])
    for model, dataset, value, kept, rank in NUMBERS:
        row = found.loc[(model, dataset)]
        assert row["value"] == pytest.approx(value, abs=5e-4)
        assert (row["n_kept"], row["rank"]) == (kept, rank)


@pytest.mark.parametrize(("model", "dataset", "value", "kept", "rank"), NUMBERS)
def test_the_papers_rule_gives_the_papers_numbers(
    traced: tuple[pd.DataFrame, pd.DataFrame], model: str, dataset: str, value: float, kept: int, rank: int
) -> None:
    (row,) = traced[0].query("model == @model and dataset == @dataset and rule == @RULE").to_dict("records")
    assert row["value"] == pytest.approx(value, abs=5e-4)
    assert row["paper"] == value
    assert (row["n_kept"], row["rank"], row["date"]) == (kept, rank, "2023-08-27")
    assert row["paper_layer"] == row["layer"] + 1
    prompts = traced[1].query("model == @model and dataset == @dataset")
    n_prompts = 1000 if dataset == "2wmh" else 106
    assert prompts["kept"].value_counts().to_dict() == {True: 10, False: n_prompts - kept}
    largest = prompts[prompts["kept"]].iloc[0]
    assert largest["share"] == pytest.approx(largest["change"] / (value * kept), rel=1e-4)


def test_the_papers_rule_applied_again_and_again(traced: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows = traced[0].query("model == 'gpt2' and dataset == '2wmh'").set_index("rule")["value"]
    again = [rows[f"{RULE}_{times}_times"] for times in range(2, 7)]
    np.testing.assert_allclose(again, [180.57, 82.65, 29.17, -3.58, -27.03], atol=0.005)


def test_the_rules_of_the_history_have_their_dates(traced: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows = traced[0].query("model == 'gpt2' and dataset == '2wmh'").set_index("rule")
    assert rows["date"].dropna().to_dict() == {
        "mean_without_top": "2023-08-10", "mean": "2023-08-26", RULE: "2023-08-27"
    }  # fmt: skip
    assert rows.loc[["mean_without_top", "mean", "median"], "value"].round(1).tolist() == [277.7, 1153.9, -23.7]
    assert rows.loc["mean_without_top", "n_kept"] == 990
    assert rows["paper"].dropna().to_dict() == {RULE: 423.734}


def write_cells(path: Path, sweep: SweepId, changes: list[float]) -> Path:
    """Write cells with these percent changes at layer 1, magnitude 2; none at layer 0."""
    here = pd.DataFrame({"prompt_id": range(len(changes)), "memory": "m", "magnitude": 2.0, "p_obscure": 0.001})
    cells = pd.concat([here.assign(layer=0, change=0.0), here.assign(layer=1, change=changes)]).assign(**sweep.columns)
    cells["p_injected"] = cells["p_obscure"] * (1 + cells["change"] / 100)
    cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    cells.to_parquet(path)
    return path


def test_averages_and_prompts_by_hand(tmp_path: Path) -> None:
    changes = [*range(20), 1000, 300]
    averages, prompts = trace_headline({TINY_CURATED: write_cells(tmp_path / "c", TINY_CURATED, changes)}, TINY_PAPER)
    rows = averages.set_index("rule")
    assert rows.loc[RULE, ["value", "n_kept", "rank", "n_sites"]].tolist() == pytest.approx([490 / 21, 21, 1, 2])
    assert rows.loc[f"{RULE}_2_times", ["value", "n_kept"]].tolist() == pytest.approx([9.5, 20])
    assert rows.loc["median", "value"] == pytest.approx(10.5)
    assert prompts["prompt_id"].tolist() == [20, 21, *range(19, 10, -1)]
    assert prompts["kept"].tolist() == [False] + 10 * [True]
    assert prompts["share"].tolist()[1:] == pytest.approx([300 / 490, *(n / 490 for n in range(19, 10, -1))])


def test_an_answer_without_probability_counts_for_no_rule(tmp_path: Path) -> None:
    path = write_cells(tmp_path / "cells.parquet", TINY_CURATED, [10, 20, 30, 40])
    cells = pd.read_parquet(path)
    cells.loc[cells["prompt_id"] == 3, ["p_obscure", "logp_obscure"]] = [0, -np.inf]
    cells.to_parquet(path)
    averages, prompts = trace_headline({TINY_CURATED: path}, TINY_PAPER)
    assert averages.loc[averages["rule"] == RULE, ["value", "n_kept"]].to_numpy().tolist() == [[pytest.approx(20), 3]]
    assert prompts["prompt_id"].tolist() == [2, 1, 0]


def test_without_a_reported_site_both_tables_are_empty_with_their_columns(tmp_path: Path) -> None:
    root, cells = write_authors_files(tmp_path / "theirs"), {}
    for sweep in (TINY_CURATED, TINY_RANDOM):
        cells[sweep] = tmp_path / f"{sweep.memories}.parquet"
        read_sweep(root, sweep).to_parquet(cells[sweep])
    elsewhere = {**TINY_PAPER, "sites": {"gpt2": {"hand": [1, 9]}}}
    for of, paper in (({}, TINY_PAPER), ({TINY_RANDOM: cells[TINY_RANDOM]}, TINY_PAPER), (cells, elsewhere)):
        averages, prompts = trace_headline(of, paper)
        assert (len(averages), len(prompts)) == (0, 0)
        assert {"rule", "value", "rank"} <= set(averages)
        assert {"prompt_id", "kept", "share"} <= set(prompts)
    assert set(trace_headline(cells, TINY_PAPER)[0]["paper"].dropna()) == {50}
