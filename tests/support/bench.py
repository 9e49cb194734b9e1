"""A tiny model and some prompt pairs, ready for running sweeps in a folder."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from conftest import PAIRS
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from memory_injections.activations.recording import record_activations
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.sweeps.experiment import Experiment, open_store
from memory_injections.sweeps.grid import Sweep
from memory_injections.terms import AnswerPositions
from transformer_lens.model_bridge import TransformerBridge

CPU = [torch.device("cpu")]
WORDS = {"nouns": ["bread", "table", "river", "stone", "cloud"]}
LAYERS, MAGNITUDES = [0, 1, 2], [float(t) for t in range(1, 11)]
NAMES = {"model": "tiny", "dataset": "own"}


def read_own_pairs(rows: int) -> pd.DataFrame:
    """Read the first of the project's own prompt pairs."""
    return normalise_pairs(read_csv(PAIRS), "own", rows=rows)


def sweep(
    memories: str = "curated", encoding: str = "unembed", magnitudes: list[float] = MAGNITUDES, relative: bool = False
) -> Sweep:
    """Return a sweep over all layers of a tiny model."""
    return Sweep(memories, encoding, LAYERS, magnitudes, relative)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that two tables of cells are the same."""
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, check_dtype=False)


@cache
def load(folder: Path) -> tuple[TransformerBridge, LoadedModel]:
    """Load a model in both forms, only once."""
    bridge = load_bridge(folder, CPU)
    return bridge, LoadedModel(
        SkippingEngine(load_causal_lm(folder, CPU)), load_tokenizer(folder), ProcessedWeights.of(bridge)
    )


class Bench:
    """A tiny model, its activations of a dozen prompt pairs, and a store."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.folder_of_model, self.folder, self.pairs = model, folder, folder / "pairs.csv"
        self.bridge, self.model = load(model)
        self.write_pairs(read_own_pairs(12))

    def write_pairs(self, pairs: pd.DataFrame) -> None:
        """Replace the prompt pairs and their activations."""
        pairs = pairs.assign(prompt_id=range(len(pairs)))
        pairs.to_csv(self.pairs, index=False)
        with ActivationCacheWriter(self.folder / "cache", len(pairs), NAMES) as writer:
            writer.write(record_activations(self.bridge, self.model.tokenizer, pairs, bos=True))

    def run(self, *sweeps: Sweep, about: dict[str, Any] | None = None, seed: int = 0, store: str = "store") -> Any:
        """Return the whole table, and how many cells were already known and how many were computed."""
        activations = ActivationCache(self.folder / "cache")
        experiment = Experiment(self.model, activations, self.pairs, WORDS, seed)
        encoder = self.model.build_encoder(sweeps[0].relative)
        whole: AnswerPositions | None = "prompt" if sweeps[0].scores_whole else None
        computer = CellComputer(self.model.engine, encoder, yield_seconds=0, whole=whole)
        with open_store(self.folder / store, about or {"precision": "float32"}, computer, flush_seconds=0) as cells:
            table = pd.concat(experiment.run(sweeps, computer, cells), ignore_index=True)
        return table, experiment.n_known, experiment.n_computed
