"""The workflow on the authors' published results, from their files to the report, without running a model."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from authors_files import curated_folder, random_folder, word_file, write_authors_files
from conftest import Run, tiny_study
from memory_injections.paper.claims import CLAIMS

STUDY = {"study": "again", "published": {"source": "folder", "path": "theirs"}}
CELLS = [f"results/again/injections/gpt2/hand/{memories}.unembed.parquet" for memories in ("curated", "nouns")]
PAIRS = "results/again/published/pairs/hand.csv"
TABLES = [f"results/again/tables/{table}.csv" for table in ("coverage", "word_files", "headline")]


def test_reanalysis_from_files_to_report(tmp_path: Path, snakemake: Run) -> None:
    write_authors_files(tmp_path / "theirs")
    done = snakemake(tmp_path, STUDY)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results" / "again"
    table3 = pd.read_csv(results / "tables" / "table3.csv")
    best = table3[(table3["memories"] == "curated") & (table3["best_by"] == "effect")].iloc[0]
    assert (best["layer"], best["magnitude"]) == (1, 2)
    assert best["mean"] == pytest.approx(50, rel=1e-5)
    verdicts = pd.read_csv(results / "tables" / "claims.csv").set_index("claim")["verdict"]
    # Six prompts are too few for the flips of their signs to say anything about a grid of four sites.
    assert verdicts[CLAIMS["helps"].label] == "inconclusive"
    contrasts = pd.read_csv(results / "tables" / "contrasts.csv")
    assert contrasts[["memories", "n_sites"]].to_numpy().tolist() == [["nouns", 4]]
    assert contrasts["effect"].iloc[0] == pytest.approx(-np.log(0.8))
    assert sorted(path.name for path in (results / "figures").glob("*.png")) == [
        "breakdown.study.png", "change.gpt2.hand.curated.unembed.png", "change.gpt2.hand.nouns.unembed.png",
        "comparison.gpt2.hand.unembed.png",
        "distribution.gpt2.hand.curated.unembed.png", "distribution.gpt2.hand.nouns.unembed.png",
        "effect.gpt2.hand.curated.unembed.png", "effect.gpt2.hand.nouns.unembed.png", "headline.study.png",
    ]  # fmt: skip
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "This is a re-analysis" in page
    assert "Attribution" not in page
    assert "magnitudes:" not in page
    assert "6 prompt pairs, from the authors' files" in " ".join(page.split())
    assert "thing 0 is in" in page
    page = (results / "explorer.html").read_text(encoding="utf-8")
    assert "The numbers are the authors' published ones" in page
    assert page.count('id="cells-') == 2
    assert page.count('id="pairs-hand"') == 1
    again = snakemake(tmp_path, STUDY, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_an_edit_of_the_authors_files_reruns_what_depends_on_it(tmp_path: Path, snakemake: Run) -> None:
    root = write_authors_files(tmp_path / "theirs")

    def make() -> dict[str, int]:
        """Make the files above, and count the jobs of each rule."""
        done = snakemake(tmp_path, STUDY, *CELLS, PAIRS, *TABLES)
        assert done.returncode == 0, done.stderr
        return dict(Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", done.stderr, re.MULTILINE)))

    always = {"published": 1, "coverage": 1}
    first = make()
    assert first == {**always, "published_cells": 2, "published_pairs": 1, "word_files": 1, "paper": 1, "headline": 1}
    assert make() == {}

    curated = curated_folder(root) / "tweak_2.csv"
    curated.write_text(curated.read_text().replace("entity 0", "entity zero"))
    assert make() == {**always, "published_cells": 1, "headline": 1}
    cells = pd.read_parquet(tmp_path / CELLS[0])
    assert set(cells.loc[cells["prompt_id"] == 0, "memory"]) == {"entity 0", "entity zero"}

    nouns = random_folder(root) / "gpt2-small_hand_pos_inject_tweakFactor_2.csv"
    shutil.copy(nouns, nouns.with_name(nouns.name.replace("_2", "_3")))
    assert make() == {**always, "published_cells": 1, "word_files": 1}
    assert set(pd.read_parquet(tmp_path / CELLS[1])["magnitude"]) == {1, 2, 3}

    curated.write_text(curated.read_text()[:-9])
    assert make() == {**always, "published_cells": 1, "headline": 1}
    assert set(pd.read_parquet(tmp_path / CELLS[0])["magnitude"]) == {1}
    coverage = pd.read_csv(tmp_path / TABLES[0]).set_index("memories")
    assert coverage.loc["curated", "left_out"] == "tweak_2.csv: row 5 (counted from 0) is not whole"

    word_file(root).write_text(word_file(root).read_text().replace("way", "year"))
    assert make() == {"published": 1, "word_files": 1}


def test_a_study_of_models_says_what_the_authors_files_cover_too(
    tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run
) -> None:
    write_authors_files(tmp_path / "theirs")
    tables = [f"results/tiny/tables/{table}.csv" for table in ("coverage", "word_files")]
    done = snakemake(tmp_path, tiny_study(tiny_models["gpt2"], published=STUDY["published"]), *tables)
    assert done.returncode == 0, done.stderr
    coverage, words = (pd.read_csv(tmp_path / table) for table in tables)
    assert coverage["n_files"].tolist() == [2, 2]
    assert words["layer"].tolist() == [1]
    assert not (tmp_path / "results/tiny/injections").exists()


def test_a_folder_that_is_not_there_is_one_clear_sentence(tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, {"study": "again", "published": {"source": "folder", "path": "nowhere"}})
    assert done.returncode == 1
    assert "config key published.path: folder nowhere does not exist; correct the path" in done.stderr
    assert "Traceback" not in done.stderr
