"""The paper's tables."""

from pathlib import Path

import numpy as np
from authors_files import TINY_CURATED, TINY_RANDOM, read_sweep, write_authors_files
from memory_injections.analysis.tables import build_table1, build_table3, score_prompts_of_cells


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
