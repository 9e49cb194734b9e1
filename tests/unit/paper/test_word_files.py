"""The layer that the authors' files of random words at one site belong to."""

from pathlib import Path

import pandas as pd
import pytest
from authors_files import TINY_RANDOM, read_sweep, word_file, write_authors_files
from memory_injections.paper.word_files import check_word_files, find_word_files


def check(root: Path, with_cells: bool = True) -> pd.Series:
    """The row of the tiny copy's one file."""
    cells = root / "cells.parquet"
    read_sweep(root, TINY_RANDOM).to_parquet(cells)
    files = find_word_files(root)
    assert list(files.values()) == [TINY_RANDOM]
    return check_word_files(files, {TINY_RANDOM: cells} if with_cells else {}).iloc[0]


def test_the_layer_where_all_shared_cells_agree(tmp_path: Path) -> None:
    row = check(write_authors_files(tmp_path))
    assert row[["file", "memories", "label", "magnitude"]].tolist() == [word_file(tmp_path).name, "nouns", 1, 2]
    assert row[["n_prompts", "n_words", "layer", "n_shared", "n_agree"]].tolist() == [6, 2, 1, 6, 6]
    assert row["share_elsewhere"] == 0
    assert row["curated_layer"] == 0
    assert row["finding"] == "one block later than the curated memories of this label"


@pytest.mark.parametrize(
    ("label", "finding"), [(2, "in the block of the curated"), (3, "one block earlier than"), (0, "two blocks later")]
)
def test_the_label_decides_where_the_curated_memories_are(tmp_path: Path, label: int, finding: str) -> None:
    root = write_authors_files(tmp_path)
    word_file(root).rename(word_file(root, label))
    row = check(root)
    assert row["layer"] == 1
    assert row["finding"].startswith(finding)


def test_one_cell_that_differs_leaves_it_undecided(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path)
    table = pd.read_csv(word_file(root), index_col=0)
    table.loc[4, "ans_prob_obs_edit_subject_time"] *= 1.002
    table.to_csv(word_file(root))
    row = check(root)
    assert pd.isna(row["layer"])
    assert row["share_elsewhere"] == pytest.approx(5 / 6)
    assert row["finding"] == "undecided: not exactly one layer agrees (cells compared: 6 at layer 0, 6 at layer 1)"


def test_what_cannot_be_compared_is_listed(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path)
    assert check(root, with_cells=False)["finding"].startswith("not compared: no sweep injected these words")
    file = word_file(root)
    other = file.with_name(file.name.replace("tweak2", "tweak7"))
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join(rows[:-2]))
    assert check(root)["finding"] == "not compared: 4 rows, but hand has 6 prompts"
    file.rename(other)
    assert check(root)["finding"].startswith("not compared: no sweep injected these words")
    other.write_text(other.read_text()[:-5])
    assert check(root)["finding"] == "not compared: row 3 (counted from 0) is not whole"


def test_files_in_deeper_folders_are_found_and_others_are_not(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path)
    deeper = word_file(root).parent / "deeper"
    deeper.mkdir()
    word_file(root).rename(deeper / "gpt2-small_2wmh_fake_inject_layer1_tweak2_top_5000.csv")
    (deeper / "summary.csv").write_text("a\n1\n")
    (sweep,) = find_word_files(root).values()
    assert sweep.path == "gpt2/2wmh/top_5000_words.unembed"
    table = check_word_files([], {})
    assert len(table) == 0
    assert "finding" in table
