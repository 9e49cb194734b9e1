"""The authors' numbers and ours side by side."""

from pathlib import Path

import pytest
from authors_files import TINY_CURATED, TINY_PAPER, read_sweep, write_authors_files
from memory_injections.paper.reported import name_site
from memory_injections.paper.scorecard import build_scorecard


def test_a_study_is_compared_with_the_authors_files(tmp_path: Path) -> None:
    paths = {}
    for who, seed in (("ours", 0), ("authors", 0)):
        root = write_authors_files(tmp_path / who, seed=seed)
        cells = read_sweep(root)
        if who == "ours":
            cells.loc[(cells["prompt_id"] == 3) & (cells["layer"] == 1), "p_injected"] *= 1.25
        paths[who] = tmp_path / f"{who}.parquet"
        cells.to_parquet(paths[who])
    card = build_scorecard({TINY_CURATED: paths["ours"]}, {TINY_CURATED: paths["authors"]}, TINY_PAPER).set_index(
        "quantity"
    )
    injected = card.loc["p_injected, prompt by prompt (relative)"]
    assert injected["n"] == 6 * 2 * 2
    assert injected["n_beyond"] == 2
    assert injected["max_difference"] == pytest.approx(0.25)
    assert injected["median_difference"] == 0
    assert card.loc["p_obscure, prompt by prompt (relative)", "max_difference"] == 0
    mean = card.loc[f"mean at {name_site(1, 2)} (%)"]
    assert mean["authors"] == pytest.approx(50)
    assert mean["difference"] == pytest.approx(150 * 0.25 / 6)
    assert card.loc["layer of the best mean effect", ["authors", "ours"]].tolist() == [1, 1]
    papers = card.loc[f"mean within 2 sd at {name_site(1, 2)} (%)"]
    assert papers["paper"] == TINY_PAPER["values"]["gpt2"]["hand"]
    assert card.loc["layer of the site that the authors report", "paper"] == 1


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    cells = read_sweep(write_authors_files(tmp_path / "theirs", prompts=9))
    cells.to_parquet(tmp_path / "authors.parquet")
    cells["memory"] = cells["memory"].astype(object).where(cells["prompt_id"] != 4, "somebody else")
    cells.query("prompt_id < 6 and layer == 1").to_parquet(tmp_path / "ours.parquet")
    name = TINY_CURATED
    card = build_scorecard({name: tmp_path / "ours.parquet"}, {name: tmp_path / "authors.parquet"}, TINY_PAPER)
    card = card.set_index("quantity")
    assert card.loc["mean p_explicit", "authors"] != card.loc["mean p_explicit", "ours"]
    assert card["difference"].dropna().abs().max() == 0
    assert card.loc["p_obscure, prompt by prompt (relative)", ["n", "n_beyond"]].tolist() == [5, 0]
    assert card.loc["p_injected, prompt by prompt (relative)", ["n", "n_beyond"]].tolist() == [10, 0]
