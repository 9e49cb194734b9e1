"""Finished cells survive damage and `kill -9`."""

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from bench import Bench, assert_same, sweep
from memory_injections.atomic_files import remove_leftovers
from memory_injections.injection import cell_computer
from memory_injections.sweeps.cells import KEY

pytestmark = pytest.mark.usefixtures("one_thread")


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:100])


def flip_number(part: Path) -> None:
    """Flip a bit of a probability: without a checksum, the file would be read as if nothing had happened."""
    table = pq.read_table(part)
    values = np.array(table["p_injected"])
    contents = part.read_bytes()
    start = contents.index(values[:1].tobytes())
    part.write_bytes(contents[:start] + bytes([contents[start] ^ 1]) + contents[start + 1 :])
    assert not np.array_equal(np.array(pq.read_table(part)["p_injected"]), values)


@pytest.mark.parametrize("damage", [cut, flip_number])
def test_a_damaged_part_is_computed_again(
    damage: Callable[[Path], None], tiny_models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tiny_models["gpt2"], tmp_path)
    table, _, total = bench.run(sweep())
    parts = sorted((bench.folder / "store").rglob("*.parquet"))
    assert len(parts) > 3
    damage(parts[1])
    again, known, computed = bench.run(sweep())
    assert 0 < computed < total
    assert known + computed == total
    assert_same(again, table)
    assert f"{parts[1]} is damaged" in caplog.text
    assert not parts[1].exists()
    caplog.clear()
    assert bench.run(sweep())[1:] == (total, 0)
    assert "damaged" not in caplog.text


SWEEPS = sweep(), sweep("nouns", "layer")


def run_slowly(model: Path, folder: Path, ready: Connection) -> None:
    torch.set_num_threads(1)  # a forked process does not have its parent's threads
    bench = Bench(model, folder)
    injected = bench.model.engine.injected

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.1)
        return injected(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_computer, "CELL_TOKENS", {"cpu": 512})
        patch.setattr(bench.model.engine, "injected", slowly)
        ready.send(True)
        bench.run(*SWEEPS)


def test_a_sweep_killed_at_random_three_times_ends_with_the_same_table(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("fork")
    kept = [0]
    for _ in range(3):
        told, ready = processes.Pipe(duplex=False)
        process = processes.Process(target=run_slowly, args=(tiny_models["gpt2"], tmp_path, ready), daemon=True)
        process.start()
        assert told.poll(60)
        time.sleep(random.uniform(1.0, 1.6))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        parts = sorted((tmp_path / "store").rglob("*.parquet"))
        cells = pd.concat([pd.read_parquet(part) for part in parts]) if parts else pd.DataFrame()
        assert not parts or not cells.duplicated(KEY).any()
        kept.append(len(cells))
    assert kept == sorted(kept)
    assert kept[-1] > 0
    bench = Bench(tiny_models["gpt2"], tmp_path)
    table, known, computed = bench.run(*SWEEPS)
    assert known == kept[-1]
    assert computed == 12 * 3 * 20 - known > 0
    assert_same(table, bench.run(*SWEEPS, store="scratch")[0])
    remove_leftovers(tmp_path)  # of processes that are gone
    assert not list(tmp_path.rglob(".*.tmp"))
