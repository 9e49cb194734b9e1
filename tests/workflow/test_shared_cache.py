"""Checkouts share results through Snakemake's cache, and an edit of the library never restores a stale one."""

import shutil
from pathlib import Path

import pandas as pd
from checkout import Checkout, make_checkout

CELLS = "results/tiny/cells/tiny/pairs/1-of-1.parquet"
NO_BOS = "results/shared/activations/tiny/pairs.no-bos.safetensors"
BOS = "results/shared/activations/tiny/pairs.bos.safetensors"
CELLS_LOG = "tiny/cells/tiny/pairs/1-of-1.log"
COMPUTER = "workflow/memory_injections/injection/cell_computer.py"


def make_sharing_checkout(folder: Path, model: Path, cache: Path, python: Path) -> Checkout:
    """Make a checkout of a tiny study, with a cache that checkouts share."""
    checkout = make_checkout(folder, model, python, attribution={"bos": False})
    checkout.environment["SNAKEMAKE_OUTPUT_CACHE"] = str(cache)
    return checkout


def run(checkout: Checkout) -> set[str]:
    """Make the study's cells and activations; return the logs of the jobs that computed something."""
    logs = checkout.folder / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    checkout.snakemake(CELLS, NO_BOS, "--cache")
    return {log.relative_to(logs).as_posix() for log in logs.rglob("*.log") if log.stat().st_size}


def test_two_checkouts_share_results_and_never_a_stale_one(
    tiny_models: dict[str, Path], python: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first, second = (
        make_sharing_checkout(tmp_path / name, tiny_models["gpt2"], cache, python) for name in ("first", "second")
    )
    everything = run(first)
    assert {
        "shared/activations/tiny/pairs.bos.log",
        "shared/activations/tiny/pairs.no-bos.log",
        CELLS_LOG,
    } <= everything
    assert run(second) == set()
    for file in (CELLS, BOS, NO_BOS):
        assert (second.folder / file).read_bytes() == (first.folder / file).read_bytes()
    # One rule makes two results from the same inputs: with BOS and without.
    assert (second.folder / BOS).read_bytes() != (second.folder / NO_BOS).read_bytes()

    second.replace(COMPUTER, "logits.log_softmax", "logits.mul(0.5).log_softmax")
    assert run(second) == {CELLS_LOG}
    before, after = (pd.read_parquet(checkout.folder / CELLS) for checkout in (first, second))
    assert not before["p_obscure"].equals(after["p_obscure"])
    assert run(first) == set()
    assert pd.read_parquet(first.folder / CELLS).equals(before)
