"""The workflow on the authors' published results, from their files to the report, without running a model."""

from pathlib import Path

import pandas as pd
import pytest
from authors_files import curated_folder, write_authors_files
from conftest import Run


def test_reanalysis_from_files_to_report(tmp_path: Path, snakemake: Run) -> None:
    write_authors_files(tmp_path / "theirs")
    study = {"study": "again", "published": {"source": "folder", "path": "theirs"}}
    done = snakemake(tmp_path, study)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results" / "again"
    table3 = pd.read_csv(results / "tables" / "table3.csv")
    best = table3[(table3["memories"] == "curated") & (table3["best_by"] == "mean")].iloc[0]
    assert (best["layer"], best["magnitude"]) == (1, 2)
    assert best["mean"] == pytest.approx(50, rel=1e-5)
    verdicts = pd.read_csv(results / "tables" / "claims.csv").set_index("claim")["verdict"]
    assert verdicts["2. A curated memory makes the answer more probable"] == "holds"
    tested = pd.read_csv(results / "tables" / "curated_against_random.csv")
    assert tested[["memories", "n_sites", "n_better"]].to_numpy().tolist() == 2 * [["nouns", 4, 4]]
    assert sorted(path.name for path in (results / "figures").glob("*.png")) == [
        "change.gpt2.hand.curated.unembed.png", "change.gpt2.hand.nouns.unembed.png",
        "comparison.gpt2.hand.unembed.png",
        "distribution.gpt2.hand.curated.unembed.png", "distribution.gpt2.hand.nouns.unembed.png",
    ]  # fmt: skip
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "This is a re-analysis" in page
    assert "Attribution" not in page
    assert "magnitudes:" not in page
    page = (results / "explorer.html").read_text(encoding="utf-8")
    assert "The numbers are the authors' published ones" in page
    assert page.count('id="cells-') == 2
    again = snakemake(tmp_path, study, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    file = curated_folder(tmp_path / "theirs") / "tweak_2.csv"
    file.write_text(file.read_text().replace("entity 0", "entity zero"))
    again = snakemake(tmp_path, study, "results/again/injections/gpt2/hand/curated.unembed.parquet")
    assert again.returncode == 0, again.stderr
    cells = pd.read_parquet(results / "injections" / "gpt2" / "hand" / "curated.unembed.parquet")
    assert set(cells.loc[cells["prompt_id"] == 0, "memory"]) == {"entity 0", "entity zero"}


def test_a_folder_that_is_not_there_is_one_clear_sentence(tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, {"study": "again", "published": {"source": "folder", "path": "nowhere"}})
    assert done.returncode == 1
    assert "config key published.path: folder nowhere does not exist; correct the path" in done.stderr
    assert "Traceback" not in done.stderr
