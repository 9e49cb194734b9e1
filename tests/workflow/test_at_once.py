"""Runs at the same time: in one checkout, and in two that share a cache."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from checkout import Checkout, make_checkout

TARGETS = ("results/tiny/tables/table3.csv", "results/shared/activations/tiny/pairs.bos.safetensors")


def run_together(checkouts: Sequence[Checkout], *options: str) -> list[tuple[int, str]]:
    """Start Snakemake in all checkouts at the same time; return how each ended, and what it said."""
    started = [checkout.start(*TARGETS, *options) for checkout in checkouts]
    said = [process.communicate() for process in started]
    return [(process.returncode, "".join(texts)) for process, texts in zip(started, said, strict=True)]


def test_two_runs_in_one_checkout(tiny_models: dict[str, Path], python: Path, tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path, tiny_models["gpt2"], python)
    ended = run_together([checkout, checkout])
    (said,) = [text for status, text in ended if status]
    assert "Directory cannot be locked" in said
    assert checkout.plan(*TARGETS) == {}
    assert len(pd.read_parquet(tmp_path / "results/tiny/injections/tiny/pairs/curated.unembed.parquet")) == 3 * 3 * 2


def test_two_checkouts_fill_one_cache(tiny_models: dict[str, Path], python: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    modes = {file: file.stat().st_mode for file in tiny_models["gpt2"].iterdir()}
    checkouts = [make_checkout(tmp_path / name, tiny_models["gpt2"], python) for name in ("first", "second")]
    for checkout in checkouts:
        checkout.environment["SNAKEMAKE_OUTPUT_CACHE"] = str(tmp_path / "cache")
    ended = run_together(checkouts, "--cache")
    assert [status for status, _ in ended] == [0, 0], ended
    assert {file: file.stat().st_mode for file in tiny_models["gpt2"].iterdir()} == modes
    for target in TARGETS:
        first, second = ((checkout.folder / target).read_bytes() for checkout in checkouts)
        assert first == second
    third = make_checkout(tmp_path / "third", tiny_models["gpt2"], python)
    third.environment = checkouts[0].environment
    third.snakemake(*TARGETS, "--cache")
    assert (third.folder / TARGETS[0]).read_bytes() == (checkouts[0].folder / TARGETS[0]).read_bytes()
