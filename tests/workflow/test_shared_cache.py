"""Checkouts share results through Snakemake's cache, and an edit of the library never restores a stale one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml
from conftest import PAIRS, ROOT

CELLS = "results/tiny/cells/tiny/pairs/1-of-1.parquet"
NO_BOS = "results/shared/activations/tiny/pairs.no-bos.safetensors"
BOS = "results/shared/activations/tiny/pairs.bos.safetensors"
CELLS_LOG = "tiny/cells/tiny/pairs/1-of-1.log"


def checkout(folder: Path, model: Path) -> Path:
    """A copy of the project with a tiny study's config."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in ("workflow", "resources"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    study = {
        "study": "tiny",
        "models": {"tiny": {"source": "local", "path": str(model)}},
        "datasets": {"pairs": {"source": "file", "path": str(PAIRS), "rows": 3}},
        "injection": {"encodings": ["unembed"], "magnitudes": [1, 4]},
        "attribution": {"bos": False},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return folder


def computed(folder: Path, cache: Path) -> set[str]:
    """Run the study's cells and activations with a cache; the jobs that computed something and said so in their log."""
    logs = folder / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", CELLS, NO_BOS, "--cache"]
    environment = {**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(cache)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*command, "--configfile", "study.yaml"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {log.relative_to(logs).as_posix() for log in logs.rglob("*.log") if log.stat().st_size}


def test_two_checkouts_share_results_and_never_a_stale_one(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first, second = (checkout(tmp_path / name, tiny_models["gpt2"]) for name in ("first", "second"))
    everything = computed(first, cache)
    assert {
        "shared/activations/tiny/pairs.bos.log",
        "shared/activations/tiny/pairs.no-bos.log",
        CELLS_LOG,
    } <= everything
    assert computed(second, cache) == set()
    for file in (CELLS, BOS, NO_BOS):
        assert (second / file).read_bytes() == (first / file).read_bytes()
    # Two results of one rule, of the same inputs: with BOS and without.
    assert (second / BOS).read_bytes() != (second / NO_BOS).read_bytes()

    sweep = second / "workflow/memory_injections/sweep.py"
    text = sweep.read_text(encoding="utf-8")
    assert "logits.log_softmax" in text
    sweep.write_text(text.replace("logits.log_softmax", "logits.mul(0.5).log_softmax"), encoding="utf-8")
    assert computed(second, cache) == {CELLS_LOG}
    before, after = (pd.read_parquet(folder / CELLS) for folder in (first, second))
    assert not before["p_obscure"].equals(after["p_obscure"])
    assert computed(first, cache) == set()
    assert pd.read_parquet(first / CELLS).equals(before)
