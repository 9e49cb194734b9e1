"""Damaged results are noticed and made again, and so are leftovers of killed jobs removed."""

import shutil
import subprocess
import sys
from pathlib import Path

from checkout import Checkout
from faults import Fault, read_results

LATE = [
    "tables/table1.csv",
    "tables/sites.csv",
    "figures/comparison.llama.mine.unembed.pdf",
    "figures/effect.llama.mine.curated.unembed.png",
    "injections/llama/mine/nouns.unembed.parquet",
    "report.html",
]
EARLY = [
    "results/shared/models/llama/manifest.json",
    "results/shared/models/llama/processed_weights.safetensors",
    "results/shared/models/llama/check.json",
    "results/shared/datasets/mine.csv",
    "results/shared/activations/llama/mine.bos.safetensors",
    "results/tiny/cells/llama/mine/1-of-1.parquet",
    "results/tiny/words.csv",
]


def damage(path: Path, is_cut: bool = False) -> None:
    Fault(path, path.stat().st_size // 2, None if is_cut else 1).inflict()


def test_damaged_results_are_made_again_and_leftovers_removed(finished: Checkout) -> None:
    results = finished.folder / "results" / "tiny"
    expected = read_results(finished.folder)
    for index, file in enumerate(LATE):
        damage(results / file, is_cut=index % 2 == 0)
    leftovers = [results / "tables" / ".table1.csv.0badcafe.tmp", results / ".checkpoint.0badcafe.tmp"]
    leftovers[0].write_text("half a table")
    leftovers[1].mkdir()
    damage(results / "tables" / ".table3.csv.xxh3", is_cut=True)  # what it was made of is in it, too
    other = finished.folder / "results" / "other" / ".table1.csv.0badcafe.tmp"
    other.parent.mkdir(exist_ok=True)
    other.write_text("half a table of another study")
    said = finished.snakemake()
    for file in LATE:
        assert f"file results/tiny/{file} is not what its job wrote: it is set aside and made again" in said
        assert (results / f"{file}.damaged").exists()
        (results / f"{file}.damaged").unlink()
    assert read_results(finished.folder) == expected
    assert not any(leftover.exists() for leftover in leftovers)
    assert other.exists()
    shutil.rmtree(other.parent)
    assert "Nothing to be done" in finished.snakemake()


def test_a_dry_run_names_what_is_damaged_and_changes_nothing(finished: Checkout) -> None:
    kept = {file: (finished.folder / file).read_bytes() for file in EARLY}
    for index, file in enumerate(EARLY):
        damage(finished.folder / file, is_cut=index % 2 == 0)
    damaged = {file: (finished.folder / file).read_bytes() for file in EARLY}
    said = finished.snakemake("--dry-run")
    for file, content in kept.items():
        assert f"file {file} is not what its job wrote: a run makes it again" in said
        assert (finished.folder / file).read_bytes() == damaged[file]
        (finished.folder / file).write_bytes(content)


def test_nothing_is_cleaned_while_another_run_is_at_work(finished: Checkout) -> None:
    lock = finished.folder / ".snakemake" / "locks" / "0.output.lock"
    table = finished.folder / "results/tiny/tables/table1.csv"
    leftover = table.with_name(".table1.csv.0badcafe.tmp")
    content = table.read_bytes()
    lock.parent.mkdir(exist_ok=True)
    for path in (lock, leftover):
        path.write_text("results/tiny/tables/table1.csv\n")
    damage(table)
    done = finished.call()
    lock.unlink()
    assert leftover.exists()
    assert table.stat().st_size == len(content)
    assert "is not what its job wrote" not in done.stderr
    leftover.unlink()
    table.write_bytes(content)


def test_a_job_refuses_a_damaged_input_and_sets_it_aside(finished: Checkout) -> None:
    """As after a change that shows in no status: the job reads what the run's own check took for whole."""
    cells = finished.folder / "results/tiny/cells/llama/mine/1-of-1.parquet"
    target = finished.folder / "results/tiny/injections/llama/mine/curated.layer.parquet"
    seal = cells.with_name(f".{cells.name}.xxh3")
    content, sealed, before = cells.read_bytes(), seal.read_bytes(), target.read_bytes()
    damage(cells)
    done = subprocess.run(
        [sys.executable, "workflow/scripts/gather.py", str(target.relative_to(finished.folder)),
         "--configfile", "study.yaml"], cwd=finished.folder, env=finished.environment, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "file results/tiny/cells/llama/mine/1-of-1.parquet is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert not cells.exists()
    cells.with_name("1-of-1.parquet.damaged").unlink()
    cells.write_bytes(content)
    seal.write_bytes(sealed)
    assert target.read_bytes() == before


def test_a_checksum_cache_that_cannot_be_written_stops_no_run(finished: Checkout) -> None:
    """As on a full disk, in every process of the run: here, a folder is in its place."""
    table, cache = (
        finished.folder / "results/tiny/tables/table1.csv",
        finished.folder / "results/shared/checksum_cache.json",
    )
    content = table.read_bytes()
    table.unlink()
    cache.unlink()
    cache.mkdir()
    said = finished.snakemake()
    assert "results/shared/checksum_cache.json cannot be written (" in said
    assert "Traceback" not in said
    assert table.read_bytes() == content
    assert not list(cache.parent.glob(".checksum_cache.json.*.tmp"))
    cache.rmdir()
    assert "Nothing to be done" in finished.snakemake()
    assert cache.is_file()
