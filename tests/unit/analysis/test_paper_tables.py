"""The paper's tables."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from authors_files import TINY_CURATED, TINY_RANDOM, read_sweep, write_authors_files
from memory_injections.analysis.paper_tables import (
    ANY,
    build_table1,
    build_table2,
    build_table3,
    compare_informative_heads,
    count_informative_heads,
    score_prompts_of_cells,
)
from memory_injections.analysis.table_files import read_table, write_table
from memory_injections.terms import TARGETS


def test_table1_of_the_authors(authors: Path) -> None:
    table = build_table1(score_prompts_of_cells(read_sweep(authors))).set_index("prompt_kind")
    np.testing.assert_allclose(table["p_answer"], [0.158, 0.087], atol=5e-4)
    np.testing.assert_allclose(table["surprisal"], [4.21, 4.91], atol=5e-3)


def test_table3_has_random_memories_at_the_curated_ones_best_sites(tmp_path: Path) -> None:
    root, paths = write_authors_files(tmp_path / "theirs"), {}
    for name in (TINY_RANDOM, TINY_CURATED):
        cells = read_sweep(root, name)
        paths[name] = tmp_path / f"{name.memories}.parquet"
        cells[(cells["memories"] == "curated") | (cells["layer"] == 1)].to_parquet(paths[name])
    table = build_table3(paths)
    assert list(table["memories"]) == ["curated", "nouns"] * 2
    assert list(table["best_by"]) == ["mean_within_2sd"] * 2 + ["effect"] * 2
    assert (table["paper_layer"] == table["layer"] + 1).all()
    assert set(zip(table["layer"], table["magnitude"], strict=True)) == {(1, 2)}
    np.testing.assert_allclose(table["mean"], [50, 20] * 2, rtol=1e-5)
    assert list(table["n_improved"]) == [6] * 4
    cells = read_sweep(root, TINY_RANDOM)
    cells[cells["layer"] == 0].to_parquet(paths[TINY_RANDOM])
    table = build_table3(paths)
    assert list(table["memories"]) == ["curated", "nouns"] * 2
    assert table.loc[table["memories"] == "nouns", ["mean", "median", "n_prompts"]].isna().all(axis=None)


def write_readings(folder: Path, ranks: dict[tuple[int, int, str], tuple[int, int, float]]) -> tuple[Path, Path]:
    """Write what two heads of a layer say of two prompts: (rank, rank_other, gain) by prompt, head and target."""
    index = pd.MultiIndex.from_product(
        [[0, 1], [0, 1], list(TARGETS), ["explicit", "obscure"]],
        names=["prompt_id", "head", "target", "prompt_kind"],
    )
    targets = index.to_frame(index=False).assign(model="tiny", dataset="mine", layer=0, token="a", logit=0.0)
    said = [ranks.get((row.prompt_id, row.head, row.target), (5000, 5000, 0.0)) for row in targets.itertuples()]
    targets[["rank", "rank_other", "logit"]] = said
    is_obscure = targets["prompt_kind"] == "obscure"
    targets.loc[is_obscure, ["rank", "rank_other"]] = 5000
    targets.loc[is_obscure, "logit"] = 0.0
    top = targets[["prompt_id", "head", "layer", "prompt_kind"]].drop_duplicates().assign(rank=0)
    top["token"] = top["prompt_kind"] + " " + top["head"].astype(str)
    paths = (folder / "top.parquet", folder / "targets.parquet")
    for path, table in zip(paths, (top, targets), strict=True):
        table.astype({"rank": "int32"}).to_parquet(path)
    return paths


TWO_PAIRS = pd.DataFrame({"dataset": "mine", "prompt_id": [0, 1], "memory": ["A", "B"], "answer": ["C", "D"]})
TWO_PAIRS[["explicit_prompt", "obscure_prompt"]] = "text"


def test_table2_has_heads_that_rank_answer_or_memory_high_and_no_others(tmp_path: Path) -> None:
    paths = write_readings(
        tmp_path,
        {
            (0, 0, "answer"): (4900, 3, 60.0),  # a large gain, and nothing is said
            (0, 1, "memory"): (7, 40, 1.0),
            (1, 0, "answer"): (100, 9, 20.0),
        },
    )
    table = build_table2([paths], {"mine": TWO_PAIRS})
    (row,) = table.itertuples()
    assert (row.prompt_id, row.tells, row.head, row.memory_rank_explicit, row.rank_other) == (0, "memory", 1, 7, 40)
    assert (row.says_explicit, row.says_obscure) == ("explicit 1", "obscure 1")
    counts = count_informative_heads([paths[1]]).set_index(["target", "prompt_kind"])
    assert list(counts.loc[("memory", "explicit"), ["n_prompts", "n_informative", "n_informative_other"]]) == [2, 1, 1]
    assert list(counts.loc[("answer", "explicit"), ["n_informative", "n_informative_other"]]) == [0, 2]
    assert counts.loc[("answer", "explicit"), "best_rank"] == 2500
    assert (counts.xs("obscure", level="prompt_kind")["n_informative"] == 0).all()


def test_informative_heads_are_compared_prompt_by_prompt(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_product(
        [range(12), range(2), list(TARGETS), ["explicit", "obscure"]],
        names=["prompt_id", "head", "target", "prompt_kind"],
    )
    ranks = np.random.default_rng(1).integers(350, size=(len(index), 2))
    targets = index.to_frame(index=False).assign(model="tiny", dataset="mine")
    targets[["rank", "rank_other"]] = ranks
    targets["rank_other"] = targets["rank_other"].astype("Int32").mask(targets["prompt_id"] == 3)
    targets.to_parquet(tmp_path / "targets.parquet")
    pairs = pd.DataFrame({"prompt_id": range(12), "memory": list("aabbccddeeff")})
    pairs["explicit_prompt"] = [f"What {prompt_id} is" for prompt_id in range(12)]
    found = compare_informative_heads([tmp_path / "targets.parquet"], {"mine": pairs}, 0)
    assert len(found) == (len(TARGETS) + 1) * 3
    for row in found.to_dict("records"):
        counts = dict.fromkeys(("n_prompts", "n_both", "n_only", "n_against_only"), 0)
        for prompt_id in range(12):
            own = targets[targets["prompt_id"] == prompt_id]
            own = own if row["target"] == ANY else own[own["target"] == row["target"]]
            here = own[own["prompt_kind"] == row["prompt_kind"]]
            other = here["rank_other"] if row["against"] == "chance" else own[own["prompt_kind"] == "obscure"]["rank"]
            if other.isna().any():
                continue
            first, second = (here["rank"] < 100).any(), (other < 100).any()
            counts["n_prompts"] += 1
            counts["n_both"] += first and second
            counts["n_only"] += first and not second
            counts["n_against_only"] += second and not first
        assert {name: row[name] for name in counts} == counts
        n, least = row["n_only"] + row["n_against_only"], min(row["n_only"], row["n_against_only"])
        assert row["p_mcnemar"] == pytest.approx(min(1, sum(math.comb(n, k) for k in range(least + 1)) / 2 ** (n - 1)))
        assert row["difference"] == pytest.approx((row["n_only"] - row["n_against_only"]) / row["n_prompts"])
        assert row["n_clusters"] == 6


def test_of_equal_ranks_the_larger_gain_counts(tmp_path: Path) -> None:
    paths = write_readings(tmp_path, {(0, 0, "memory"): (2, 5, 1.0), (0, 1, "memory"): (2, 5, 3.0)})
    assert list(build_table2([paths], {"mine": TWO_PAIRS})["head"]) == [1]


def test_a_table2_without_informative_heads_can_be_read(tmp_path: Path) -> None:
    write_table(build_table2([write_readings(tmp_path, {})], {"mine": TWO_PAIRS}), tmp_path / "table2.csv")
    table = read_table(tmp_path / "table2.csv")
    assert table.empty
    assert "says_explicit" in table
