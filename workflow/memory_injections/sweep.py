"""The injection sweep: every (prompt, layer, magnitude) of one kind of memory in one encoding.

A *cell* is one prompt with one memory injected into one layer at one magnitude (paper, sections 3.3 and 4).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from . import encodings
from .cache import ActivationCache
from .engine import CleanPass, InjectionEngine
from .errors import StudyError
from .lens import Lens
from .scoring import probability_and_rank
from .tokens import check_context, length_batches, memory_ids, pad, prompt_ids

MAX_TOKENS = {"cpu": 2048, "cuda": 16384}
MAX_PADDING = 0.1

MemoryOfCell = Callable[[int, int, float], str]


def draw_word(words: Sequence[str], seed: int, column: str, prompt_id: int, layer: int, magnitude: float) -> str:
    """The random memory of a cell: it depends on the seed and on this cell alone, not on the rest of the grid."""
    cell = f"{seed}|{column}|{prompt_id}|{layer}|{float(magnitude)!r}"
    return words[int.from_bytes(hashlib.sha256(cell.encode()).digest()[:8], "big") % len(words)]


@dataclass(frozen=True)
class MemoryVectors:
    """The vectors of the memories of a sweep, one a text, or one a text and layer for the `layer` encoding."""

    row_of: dict[str, int]
    vectors: Float[Tensor, "memory d_model"] | Float[Tensor, "memory layer d_model"]

    def at(self, layer: int, memories: Sequence[str]) -> Float[Tensor, "cell d_model"]:
        """The vector of each memory for an injection at this layer."""
        rows = self.vectors[[self.row_of[memory] for memory in memories]]
        return rows if rows.ndim == 2 else rows[:, layer]


def memory_vectors(
    encoding: str,
    memories: Sequence[str],
    engine: InjectionEngine,
    tokenizer: PreTrainedTokenizerBase,
    lens: Lens,
) -> MemoryVectors:
    """Encode each distinct memory once; raises `StudyError` for a memory without tokens.

    `layer` is the attention output of every layer at the last token of the memory's text, run by itself with BOS.
    """
    distinct = list(dict.fromkeys(memories))
    if encoding == "layer":
        vectors = torch.cat([_attention_outputs(engine, tokenizer, text) for text in distinct])
    else:
        vectors = encodings.from_tokens(lens, encoding, [memory_ids(tokenizer, text) for text in distinct])
    return MemoryVectors({text: row for row, text in enumerate(distinct)}, vectors.to(engine.device))


def _attention_outputs(
    engine: InjectionEngine, tokenizer: PreTrainedTokenizerBase, text: str
) -> Float[Tensor, "1 layer d_model"]:
    return engine.clean(*pad([prompt_ids(tokenizer, text)], engine.device)).attn_out.transpose(0, 1)


def cached_vectors(cache: ActivationCache, pairs: pd.DataFrame, device: torch.device) -> MemoryVectors:
    """The `layer` encoding of the curated memories, out of the activation cache."""
    rows = {text: row for row, text in enumerate(pairs["memory"])}
    return MemoryVectors(rows, cache["memory.attn_out"].to(device))


def sweep(
    engine: InjectionEngine,
    tokenizer: PreTrainedTokenizerBase,
    pairs: pd.DataFrame,
    answers: Sequence[int],
    memory_of: MemoryOfCell,
    vectors: MemoryVectors,
    layers: Sequence[int],
    magnitudes: Sequence[float],
) -> pd.DataFrame:
    """All cells of the grid, sorted by prompt, layer and magnitude.

    Columns: prompt_id, layer, magnitude, memory, p_obscure, p_injected, rank_obscure, rank_injected.
    `memory_of(prompt_id, layer, magnitude)` names the memory of a cell; ranks count from 0.
    """
    rows = [prompt_ids(tokenizer, text) for text in pairs["obscure_prompt"]]
    check_context(rows, "obscure_prompt", getattr(engine.model.config, "max_position_embeddings", None))
    lengths = [len(row) for row in rows]
    budget = MAX_TOKENS[engine.device.type]
    tables = []
    with tqdm(total=len(pairs) * len(layers) * len(magnitudes), desc="injections", unit="cell") as progress:
        for batch in length_batches(lengths, max(budget // len(magnitudes), 1), MAX_PADDING):
            prompts = _Prompts.of([rows[index] for index in batch], [answers[index] for index in batch], engine)
            ids = [int(pairs["prompt_id"].iloc[index]) for index in batch]
            for layer in layers:
                cells = pd.MultiIndex.from_product(
                    [ids, [layer], magnitudes], names=["prompt_id", "layer", "magnitude"]
                )
                table = cells.to_frame(index=False)
                table["memory"] = [memory_of(*cell) for cell in cells]
                tables.append(_inject(prompts, table, vectors, layer, len(magnitudes), budget))
                progress.update(len(table))
    return pd.concat(tables).sort_values(["prompt_id", "layer", "magnitude"], ignore_index=True)


@dataclass(frozen=True)
class _Prompts:
    """A batch of obscure prompts after their clean pass."""

    engine: InjectionEngine
    tokens: Tensor
    lengths: Tensor
    answers: Tensor
    clean: CleanPass

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], answers: Sequence[int], engine: InjectionEngine) -> "_Prompts":
        tokens, lengths = pad(rows, engine.device)
        answer = torch.tensor(answers, device=engine.device)
        return cls(engine, tokens, lengths, answer, engine.clean(tokens, lengths))


def _inject(
    prompts: _Prompts, cells: pd.DataFrame, vectors: MemoryVectors, layer: int, n_magnitudes: int, budget: int
) -> pd.DataFrame:
    """The cells of a batch of prompts at one layer: one row a prompt and magnitude, magnitudes fastest."""
    engine = prompts.engine
    prompt_of_row = torch.arange(len(prompts.answers), device=engine.device).repeat_interleave(n_magnitudes)
    magnitude = torch.tensor(cells["magnitude"].to_numpy(), dtype=torch.float32, device=engine.device)
    delta = magnitude[:, None] * vectors.at(layer, list(cells["memory"]))
    results = []
    for rows in torch.arange(len(cells), device=engine.device).split(max(1, budget // prompts.tokens.shape[1])):
        prompt = prompt_of_row[rows]
        logits = engine.injected(
            prompts.tokens[prompt], prompts.lengths[prompt], layer, prompts.clean.resid_pre[layer, prompt], delta[rows]
        )
        results.append(probability_and_rank(logits, prompts.answers[prompt]))
    p_injected, rank_injected = (torch.cat(parts).numpy(force=True) for parts in zip(*results, strict=True))
    if not np.isfinite(p_injected).all():
        worst = cells["magnitude"][~np.isfinite(p_injected)].iloc[0]
        raise StudyError(
            f"config key injection.magnitudes: magnitude {worst:g} at layer {layer} overflows float32; use smaller ones"
        )
    p_obscure, rank_obscure = probability_and_rank(prompts.clean.logits, prompts.answers)
    cells["p_obscure"] = p_obscure[prompt_of_row].numpy(force=True)
    cells["p_injected"] = p_injected
    cells["rank_obscure"] = rank_obscure[prompt_of_row].numpy(force=True)
    cells["rank_injected"] = rank_injected
    return cells
