"""The cells that a study asks for.

A *cell* is one prompt with one memory injected into one layer at one magnitude (paper, sections 3.3 and 4); a
*sweep* is the cells of every prompt for one kind of memory in one encoding.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from .config import CURATED
from .errors import StudyError

# What a cell's numbers depend on, besides the model and the code: `prompt` stands for obscure prompt and answer.
KEY = ["prompt", "encoding", "memory", "layer", "magnitude"]
SCORES = {
    "p_obscure": pa.float32(),
    "p_injected": pa.float32(),
    "rank_obscure": pa.int32(),
    "rank_injected": pa.int32(),
    "logp_obscure": pa.float32(),
    "logp_injected": pa.float32(),
    "kl": pa.float32(),
    "top_token_id": pa.int32(),
}
_TEXT = pa.dictionary(pa.int32(), pa.string())
_CELL = [("layer", pa.int16()), ("magnitude", pa.float64()), ("memory", _TEXT)]
STORE_SCHEMA = pa.schema([("prompt", _TEXT), ("encoding", _TEXT), *_CELL, *SCORES.items()])
SCHEMA = pa.schema(
    [
        ("memories", _TEXT),
        ("encoding", _TEXT),
        ("prompt_id", pa.int32()),
        *_CELL,
        ("p_explicit", pa.float32()),
        *SCORES.items(),
        ("top_token", _TEXT),
    ]
)


@dataclass(frozen=True)
class Sweep:
    """One kind of memory in one encoding, over layers and magnitudes."""

    memories: str
    encoding: str
    layers: Sequence[int]
    magnitudes: Sequence[float]

    @property
    def cells_per_prompt(self) -> int:
        """Number of cells that every prompt has."""
        return len(self.layers) * len(self.magnitudes)


def shard_of(sweeps: Sequence[Sweep], shard: int, shards: int) -> list[Sweep]:
    """The cells of one of several jobs, counted from 1: of all layers that are swept, every `shards`-th.

    Early layers take longer than late ones, so each job has some of all. Raises `StudyError` for more jobs than layers.
    """
    layers = sorted({layer for sweep in sweeps for layer in sweep.layers})
    if shards > len(layers):
        raise StudyError(
            f"config key shards: {shards} jobs cannot share out {len(layers)} layers; use {len(layers)} or less"
        )
    own = layers[shard - 1 :: shards]
    parts = [replace(sweep, layers=[layer for layer in sweep.layers if layer in own]) for sweep in sweeps]
    return [part for part in parts if part.layers]


def draw_word(words: Sequence[str], seed: int, column: str, prompt_id: int, layer: int, magnitude: float) -> str:
    """The random memory of a cell: it depends on the seed and on this cell alone, not on the rest of the grid."""
    cell = f"{seed}|{column}|{prompt_id}|{layer}|{float(magnitude)!r}"
    return words[int.from_bytes(hashlib.sha256(cell.encode()).digest()[:8], "big") % len(words)]


def prompt_key(obscure_prompt: str, answer: str) -> str:
    """What stands for a prompt and its answer in the key of a cell."""
    return hashlib.blake2b(f"{obscure_prompt}\0{answer}".encode(), digest_size=16).hexdigest()


def plan(pairs: pd.DataFrame, sweeps: Sequence[Sweep], words: Mapping[str, Sequence[str]], seed: int) -> pd.DataFrame:
    """Every cell of some prompt pairs: `KEY`, `memories` and `prompt_id`; by sweep, prompt, layer and magnitude.

    `words` are the candidates of each kind of random memory.
    """
    keys = [prompt_key(*pair) for pair in zip(pairs["obscure_prompt"], pairs["answer"], strict=True)]
    tables = []
    for sweep in sweeps:
        grid = pd.MultiIndex.from_product(
            [pairs["prompt_id"], sorted(sweep.layers), sorted(sweep.magnitudes)],
            names=["prompt_id", "layer", "magnitude"],
        )
        table = grid.to_frame(index=False)
        if sweep.memories == CURATED:
            table["memory"] = pairs["memory"].repeat(sweep.cells_per_prompt).to_numpy()
        else:
            table["memory"] = [draw_word(words[sweep.memories], seed, sweep.memories, *cell) for cell in grid]
        table["prompt"] = pd.Series(keys).repeat(sweep.cells_per_prompt).to_numpy()
        tables.append(table.assign(memories=sweep.memories, encoding=sweep.encoding))
    return pd.concat(tables, ignore_index=True)
