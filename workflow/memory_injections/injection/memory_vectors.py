"""Encoding memories: from a memory's text to the vector that is injected (paper, section 3.3; arXiv 2411.05037)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.encodings import ENCODINGS
from memory_injections.injection.engine import InjectionEngine
from memory_injections.models.processed_weights import ProcessedWeights

# Words of a word list are encoded again and again.
CACHED_MEMORIES = 8192


@dataclass(frozen=True)
class MemoryVectors:
    """The vectors of several memories at several layers.

    A memory has one row of `vectors`, which serves every layer, or, in an encoding that needs a pass, one for each of
    `layers`. `first_row` is where its rows start, and `is_per_layer` says which case it is.
    """

    vectors: Float[Tensor, "vector d_model"]
    first_row: Int[np.ndarray, " memory"]
    is_per_layer: Bool[np.ndarray, " memory"]
    layers: Sequence[int]

    def find_rows(
        self, memories: Int[np.ndarray, " cell"], layers: Int[np.ndarray, " cell"]
    ) -> Int[np.ndarray, " cell"]:
        """Return the row of `vectors` that each cell adds, from its memory's index and its layer."""
        return self.first_row[memories] + self.is_per_layer[memories] * np.searchsorted(self.layers, layers)


class Encoder(Protocol):
    """Turns what a table of cells names in its columns encoding and memory into vectors.

    If it `is_relative`, magnitudes are doses: a vector of length 1 stands for one as long as the residual stream.
    """

    processed: ProcessedWeights
    is_relative: bool

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, memory) pairs for injections into `layers`, which must be in ascending order."""


class MemoryEncoder:
    """Encodes memories as vectors of one model's residual stream.

    If it `is_relative`, all vectors have length 1: their magnitudes are doses relative to the residual stream.
    """

    def __init__(
        self,
        engine: InjectionEngine,
        tokenizer: PreTrainedTokenizerBase,
        processed: ProcessedWeights,
        is_relative: bool = False,
    ) -> None:
        self.engine, self.tokenizer, self.processed, self.is_relative = engine, tokenizer, processed, is_relative
        self._encode_cached = lru_cache(maxsize=CACHED_MEMORIES)(self._encode_once)

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, text) pairs for injections into `layers`, which must be in ascending order.

        The vectors are float32, on the engine's device. Raises `StudyError` for an unknown encoding, a memory without
        tokens, and one that the model would have to run and that is longer than its context.
        """
        is_per_layer = np.array([ENCODINGS[encoding].needs_pass for encoding, _ in memories])
        n_vectors = np.where(is_per_layer, len(layers), 1)
        first_row = n_vectors.cumsum() - n_vectors
        vectors = torch.empty(int(n_vectors.sum()), self.processed.W_U.shape[0], device=self.processed.W_U.device)
        for start, n, memory in zip(first_row, n_vectors, memories, strict=True):
            if not ENCODINGS[memory[0]].needs_pass:
                vectors[start : start + n] = self._encode_cached(*memory)
        for encoding in {encoding for encoding, _ in memories if ENCODINGS[encoding].needs_pass}:
            rows = [row for row, (name, _) in enumerate(memories) if name == encoding]
            outputs = ENCODINGS[encoding].encode(self, [memories[row][1] for row in rows], layers)
            for row, output in zip(rows, outputs, strict=True):
                vectors[first_row[row] : first_row[row] + len(layers)] = output
        if self.is_relative:
            vectors = vectors / self.processed.measure_lengths(vectors)[:, None]
        return MemoryVectors(vectors.to(self.engine.device), first_row, is_per_layer, layers)

    def _encode_once(self, encoding: str, text: str) -> Float[Tensor, " d_model"]:
        return ENCODINGS[encoding].encode(self, [text], [])[0, 0]
