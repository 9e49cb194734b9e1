"""A sweep that is interrupted, extended or edited computes what is missing, and ends with the same table."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import PAIRS
from memory_injections.activations import recording as activations
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.models.lens import Lens
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.tokenisation import load_tokenizer, vocabulary
from memory_injections.sweeps.cells import KEY, SCHEMA
from memory_injections.sweeps.grid import Sweep
from memory_injections.sweeps.running import Experiment, context
from memory_injections.sweeps.store import CellStore

CPU = [torch.device("cpu")]
WORDS = {"nouns": ["bread", "table", "river", "stone", "cloud"]}
LAYERS, MAGNITUDES = [0, 1, 2], [float(t) for t in range(1, 11)]


class Bench:
    """A tiny model and some prompt pairs, ready to run sweeps in a folder."""

    def __init__(self, model: Path, folder: Path, pairs: pd.DataFrame | None = None) -> None:
        self.folder, self.pairs = folder, folder / "pairs.csv"
        self.tokenizer = load_tokenizer(model)
        bridge = load_bridge(model, CPU)
        self.lens, self.engine = Lens.of(bridge), InjectionEngine(load_causal_lm(model, CPU))
        self.bridge = bridge
        self.write_pairs(normalise_pairs(read_csv(PAIRS), "own", rows=12) if pairs is None else pairs)

    def write_pairs(self, pairs: pd.DataFrame) -> None:
        pairs = pairs.assign(prompt_id=range(len(pairs)))
        pairs.to_csv(self.pairs, index=False)
        with ActivationCacheWriter(self.folder / "cache", len(pairs)) as writer:
            writer.write(activations.compute(self.bridge, self.tokenizer, pairs, bos=True))

    def run(self, *sweeps: Sweep, about: dict[str, Any] | None = None, seed: int = 0, store: str = "store") -> Any:
        """The whole table, and how many cells were known and computed."""
        words = vocabulary(self.tokenizer, self.lens.W_U.shape[1])
        cache = ActivationCache(self.folder / "cache")
        experiment = Experiment(sweeps, WORDS, seed, self.pairs, cache, self.tokenizer, words)
        computer = CellComputer(self.engine, MemoryEncoder(self.engine, self.tokenizer, self.lens), yield_seconds=0)
        with CellStore(self.folder / store, about or {"precision": "float32"}, flush_seconds=0) as cells:
            table = pd.concat(experiment.run(computer, cells), ignore_index=True)
        return table, experiment.n_known, experiment.n_computed


@pytest.fixture
def bench(tiny_models: dict[str, Path], tmp_path: Path) -> Bench:
    return Bench(tiny_models["gpt2"], tmp_path)


def sweep(memories: str = "curated", encoding: str = "unembed", magnitudes: list[float] = MAGNITUDES) -> Sweep:
    return Sweep(memories, encoding, LAYERS, magnitudes)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, check_dtype=False)


def test_a_table_has_every_cell_in_order(bench: Bench) -> None:
    table, known, computed = bench.run(sweep(), sweep("nouns", "embed", [2.0]))
    assert (known, computed) == (0, 12 * 3 * 10 + 12 * 3)
    assert set(SCHEMA.names) <= set(table)
    assert not table.isna().any(axis=None)
    for _, of_sweep in table.groupby("memories"):
        assert of_sweep.index.equals(of_sweep.sort_values(["prompt_id", "layer", "magnitude"]).index)
    again, known, computed = bench.run(sweep(), sweep("nouns", "embed", [2.0]))
    assert (known, computed) == (12 * 3 * 11, 0)
    assert_same(again, table)


def test_five_more_magnitudes_compute_only_their_cells(bench: Bench) -> None:
    bench.run(sweep())
    fifteen = [float(t) for t in range(1, 16)]
    table, known, computed = bench.run(sweep(magnitudes=fifteen))
    assert (known, computed) == (10 * 3 * 12, 5 * 3 * 12)
    assert_same(table, bench.run(sweep(magnitudes=fifteen), store="scratch")[0])


def test_another_memory_kind_another_layer_and_more_prompts_compute_only_their_cells(bench: Bench) -> None:
    few = Sweep("curated", "unembed", [0, 2], MAGNITUDES)
    bench.run(few)
    assert bench.run(few, sweep("nouns"))[1:] == (2 * 10 * 12, 3 * 10 * 12)
    assert bench.run(sweep(), sweep("nouns"))[1:] == (5 * 10 * 12, 10 * 12)
    bench.write_pairs(normalise_pairs(read_csv(PAIRS), "own", rows=15))
    table, known, computed = bench.run(sweep(), sweep("nouns"))
    assert (known, computed) == (6 * 10 * 12, 6 * 10 * 3)
    assert_same(table, bench.run(sweep(), sweep("nouns"), store="scratch")[0])


@pytest.mark.parametrize("column", ["obscure_prompt", "answer", "memory"])
def test_an_edited_prompt_recomputes_that_prompt_alone(bench: Bench, column: str) -> None:
    bench.run(sweep())
    pairs = normalise_pairs(read_csv(PAIRS), "own", rows=12)
    pairs.loc[5, column] = "The old city of the"
    bench.write_pairs(pairs.iloc[::-1])
    table, known, computed = bench.run(sweep())
    assert (known, computed) == (11 * 3 * 10, 3 * 10)
    assert_same(table, bench.run(sweep(), store="scratch")[0])


def test_an_edited_explicit_prompt_recomputes_nothing_but_shows(bench: Bench) -> None:
    before = bench.run(sweep())[0]
    pairs = normalise_pairs(read_csv(PAIRS), "own", rows=12)
    pairs.loc[5, "explicit_prompt"] = "The old city of the"
    bench.write_pairs(pairs)
    table, _, computed = bench.run(sweep())
    assert computed == 0
    changed = table.loc[table["p_explicit"] != before["p_explicit"], "prompt_id"]
    assert set(changed) == {5}


def test_another_seed_or_context_does_not_reuse_cells(bench: Bench) -> None:
    first, _, _ = bench.run(sweep("nouns"))
    other, known, computed = bench.run(sweep("nouns"), seed=1)
    same_word = (first["memory"] == other["memory"]).sum()
    assert (known, computed) == (same_word, len(first) - same_word)
    assert bench.run(sweep("nouns"), about={"precision": "tf32"})[1] == 0


def test_the_context_names_everything_that_all_cells_depend_on() -> None:
    manifest = {"files": {"model.safetensors": "1"}}
    base = context(manifest, "float32", "cpu")
    assert context(manifest, "bfloat16", "cpu") != base
    assert context({"files": {"model.safetensors": "2"}}, "float32", "cpu") != base
    assert {"torch", "transformers", "transformer_lens"} <= set(base["libraries"])


def test_a_damaged_part_is_computed_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    table, _, total = bench.run(sweep())
    parts = sorted((bench.folder / "store").rglob("*.parquet"))
    assert len(parts) > 3
    parts[1].write_bytes(parts[1].read_bytes()[:100])
    again, known, computed = bench.run(sweep())
    assert 0 < computed < total
    assert known + computed == total
    assert_same(again, table)
    assert "is damaged" in caplog.text


KILLED = """
import sys
from pathlib import Path
import test_store
from memory_injections.injection import cell_computer as sweep
sweep.MAX_TOKENS["cpu"] = 512
bench = test_store.Bench(Path(sys.argv[1]), Path(sys.argv[2]))
bench.engine_injected = bench.engine.injected
def slowly(*arguments):
    test_store.time.sleep(0.1)
    return bench.engine_injected(*arguments)
bench.engine.injected = slowly
print("ready", flush=True)
bench.run(test_store.sweep(), test_store.sweep("nouns", "layer"))
"""


def test_a_sweep_killed_at_random_three_times_ends_with_the_same_table(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    sweeps = sweep(), sweep("nouns", "layer")
    kept = [0]
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(tiny_models["gpt2"]), str(tmp_path)]
        with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(1.0, 1.6))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        parts = sorted((tmp_path / "store").rglob("*.parquet"))
        cells = pd.concat([pd.read_parquet(part) for part in parts]) if parts else pd.DataFrame()
        assert not parts or not cells.duplicated(KEY).any()
        kept.append(len(cells))
    assert kept == sorted(kept)
    assert kept[-1] > 0
    bench = Bench(tiny_models["gpt2"], tmp_path)
    table, known, computed = bench.run(*sweeps)
    assert known == kept[-1]
    assert computed == 12 * 3 * 20 - known > 0
    assert_same(table, bench.run(*sweeps, store="scratch")[0])
    assert not list(tmp_path.rglob(".*.tmp"))
