"""Contents decide: whatever is swapped for something else, by whatever means, no table and no store mixes the two."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from checkout import Checkout
from conftest import Run
from swaps import MEANS, move

# What a study reads, and a change of it that leaves its size as it is.
SWAPPED: dict[str, tuple[bytes, bytes]] = {
    "llama/model.safetensors": (b"", b""),
    "mine.csv": (b"fought", b"sought"),
    "words.csv": (b"time", b"tide"),
}
CELLS = "results/tiny/injections/llama/mine/curated.unembed.parquet"


def change(file: str, content: bytes) -> bytes:
    """Other contents of the same size; of the weights, the last tensor's numbers in another order."""
    old, new = SWAPPED[file]
    if not old:
        return content[:-4096] + content[-2048:] + content[-4096:-2048]
    assert old in content
    return content.replace(old, new, 1)


@contextmanager
def put_back(folder: Path, files: list[str]) -> Iterator[None]:
    """Restore files and their dates after the block."""
    kept = {folder / file: ((folder / file).read_bytes(), (folder / file).stat()) for file in files}
    yield
    for path, (content, status) in kept.items():
        path.unlink()
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for other in (folder / ".other", folder / "llama" / ".other"):
        other.unlink(missing_ok=True)


@pytest.mark.parametrize("means", MEANS, ids=lambda means: means.__name__)
def test_a_swap_reruns_what_reads_it(means: Callable[[Path, bytes], None], finished: Checkout) -> None:
    with put_back(finished.folder, list(SWAPPED)):
        for file in SWAPPED:
            path = finished.folder / file
            means(path, change(file, path.read_bytes()))
        plan = finished.plan()
    assert {"model", "pairs", "words", "processed_weights", "activations", "inject"} <= plan.keys()


def test_cells_of_two_models_never_meet(finished: Checkout, tmp_path: Path, snakemake: Run) -> None:
    """Swapped weights with one magnitude more, and back again: every cell is of the weights that it says."""
    finished.lend_models(tmp_path)
    weights = tmp_path / "llama" / "model.safetensors"
    own, other = weights.read_bytes(), change("llama/model.safetensors", weights.read_bytes())

    def run(*magnitudes: int) -> tuple[pd.DataFrame, list[str]]:
        study = finished.config | {"injection": {"magnitudes": [*magnitudes]}}
        done = snakemake(tmp_path, study, CELLS)
        assert done.returncode == 0, done.stderr
        log = (tmp_path / "logs/tiny/cells/llama/mine/1-of-1.log").read_text()
        return pd.read_parquet(tmp_path / CELLS), re.findall(r"(\d+) known, (\d+) computed", log)[0]

    first, _ = run(1, 4)
    move(weights, other)
    swapped, counts = run(1, 4, 8)
    assert counts == ("0", "36")
    move(weights, own)
    back, counts = run(1, 4, 8)
    assert counts == ("24", "12")
    pd.testing.assert_frame_equal(back[back["magnitude"] < 8].reset_index(drop=True), first, check_categorical=False)
    assert not back["p_obscure"].equals(swapped["p_obscure"])
    for _, cells in swapped.groupby("prompt_id"):
        assert cells["p_obscure"].nunique() == 1


def test_a_swap_in_mid_run_ends_the_job_and_leaves_the_store_alone(finished: Checkout) -> None:
    weights = finished.folder / "llama" / "model.safetensors"
    manifest = finished.folder / "results/shared/models/llama/manifest.json"
    shared = finished.folder / "results/shared/cells"
    stored = sorted(shared.rglob("*"))
    about, checksum = manifest.read_bytes(), manifest.with_name(".manifest.json.xxh3")
    cells = "results/tiny/cells/llama/mine/1-of-1.parquet"
    seal = checksum.read_bytes()
    with put_back(finished.folder, ["llama/model.safetensors"]):
        move(weights, change("llama/model.safetensors", weights.read_bytes()))
        done = subprocess.run(
            [sys.executable, "workflow/scripts/inject.py", cells, "--configfile", "study.yaml"],
            cwd=finished.folder, env=finished.environment, text=True, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "llama/model.safetensors is no longer the file that it describes" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(shared.rglob("*")) == stored
    # The next run would make the manifest anew.
    assert not manifest.exists()
    manifest.write_bytes(about)
    checksum.write_bytes(seal)
    manifest.with_name("manifest.json.damaged").unlink()
    assert json.loads(about)["checksums"]
