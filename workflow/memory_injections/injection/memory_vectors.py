"""Encoding memories: from a memory's text to the vector that is injected (paper, section 3.3; arXiv 2411.05037)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.errors import StudyError
from memory_injections.injection.engine import InjectionEngine
from memory_injections.models.lens import Lens
from memory_injections.models.limits import MEMORY_PADDING, MEMORY_TOKENS
from memory_injections.models.tokenisation import batch_by_length, pad, tokenise_memory, tokenise_prompt
from memory_injections.terms import RELATIVE

# Words of a word list are encoded again and again.
CACHED_MEMORIES = 8192
# Characters of a memory in a message.
LONGEST_SHOWN = 80


def sum_unembedding_columns(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum the columns of the processed W_U over the set of a memory's tokens (encoding `unembed`)."""
    return lens.W_U[:, sorted(set(tokens))].sum(dim=1)


def sum_embedding_rows(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum the rows of the processed W_E over the set of a memory's tokens (encoding `embed`)."""
    return lens.W_E[sorted(set(tokens))].sum(dim=0)


# The encodings that need a memory's tokens only, not a forward pass.
TOKEN_ENCODINGS: Mapping[str, Callable[[Lens, Sequence[int]], Float[Tensor, " d_model"]]] = {
    "unembed": sum_unembedding_columns,
    "embed": sum_embedding_rows,
}


@dataclass(frozen=True)
class MemoryVectors:
    """The vectors of several memories at several layers.

    A memory has one row of `vectors`, which serves every layer, or one for each of `layers`: in the encoding `layer`,
    and with relative doses. `first_row` is where its rows start, and `is_per_layer` says which case it is.
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
    """Turns what a table of cells names in its columns encoding and memory into vectors."""

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, memory) pairs for injections into `layers`, which must be in ascending order."""


class MemoryEncoder:
    """Encodes memories as vectors of one model's residual stream.

    `residual_norms` is the length of the residual stream before each block, for encodings with relative doses: their
    vectors have that length.
    """

    def __init__(
        self,
        engine: InjectionEngine,
        tokenizer: PreTrainedTokenizerBase,
        lens: Lens,
        residual_norms: Sequence[float] = (),
    ) -> None:
        self.engine, self.tokenizer, self.lens, self.residual_norms = engine, tokenizer, lens, residual_norms
        self._encode_cached = lru_cache(maxsize=CACHED_MEMORIES)(self._encode_tokens)

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, text) pairs for injections into `layers`, which must be in ascending order.

        The encoding `layer` takes each layer's attention output at the last token of the text, which the model reads
        by itself, with BOS in front. The vectors are float32, on the engine's device. Raises `StudyError` for a memory
        without tokens, and for one that the model would have to run and that is longer than its context.
        """
        is_relative = np.array([encoding.endswith(RELATIVE) for encoding, _ in memories])
        memories = [(encoding.removesuffix(RELATIVE), text) for encoding, text in memories]
        is_run = np.array([encoding == "layer" for encoding, _ in memories])
        is_per_layer = is_run | is_relative
        n_vectors = np.where(is_per_layer, len(layers), 1)
        first_row = n_vectors.cumsum() - n_vectors
        vectors = torch.empty(int(n_vectors.sum()), self.lens.W_U.shape[0], device=self.lens.W_U.device)
        for start, n, memory in zip(first_row[~is_run], n_vectors[~is_run], compress(memories, ~is_run), strict=True):
            vectors[start : start + n] = self._encode_cached(*memory)
        outputs = self._run_memories([text for _, text in compress(memories, is_run)], layers)
        for start, output in zip(first_row[is_run], outputs, strict=True):
            vectors[start : start + len(layers)] = output
        for start in first_row[is_relative]:
            self._scale_to_residual(vectors[start : start + len(layers)], layers)
        return MemoryVectors(vectors.to(self.engine.device), first_row, is_per_layer, layers)

    def _scale_to_residual(self, vectors: Float[Tensor, "layer d_model"], layers: Sequence[int]) -> None:
        """Give the vectors of a memory at each layer the length of the residual stream there, in place."""
        norms = torch.tensor([self.residual_norms[layer] for layer in layers], device=vectors.device)
        # The attention outputs that the encoding `layer` takes are not centred, the residual stream's lengths are.
        seen = vectors - vectors.mean(dim=1, keepdim=True) if self.lens.is_centred else vectors
        vectors.mul_((norms / seen.norm(dim=1).clamp_min(torch.finfo(vectors.dtype).tiny))[:, None])

    def _encode_tokens(self, encoding: str, text: str) -> Float[Tensor, " d_model"]:
        return TOKEN_ENCODINGS[encoding](self.lens, tokenise_memory(self.tokenizer, text))

    def _run_memories(self, texts: Sequence[str], layers: Sequence[int]) -> Float[Tensor, "memory layer d_model"]:
        """Return the layers' attention outputs at the last token of each text, with BOS in front."""
        rows = [tokenise_prompt(self.tokenizer, text) for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if self.engine.n_ctx is not None and len(row) > self.engine.n_ctx:
                raise StudyError(
                    f"the memory {text[:LONGEST_SHOWN]!r} has {len(row)} tokens, BOS included, but the model takes "
                    f"{self.engine.n_ctx}; shorten it, or leave the encoding `layer` out"
                )
        outputs = torch.empty(len(rows), len(layers), self.lens.W_U.shape[0], device=self.engine.device)
        for batch in batch_by_length([len(row) for row in rows], MEMORY_TOKENS, MEMORY_PADDING):
            tokens, lengths = pad([rows[index] for index in batch], self.engine.device, MEMORY_PADDING)
            clean = self.engine.clean(tokens, lengths, layers)
            outputs[batch] = clean.stack_last_attn_out().to(outputs.device)
        return outputs
