"""From a memory's text to the vector that is injected (paper, section 3.3; follow-up, arXiv 2411.05037)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.models.lens import Lens
from memory_injections.models.limits import MEMORY_PADDING, MEMORY_TOKENS
from memory_injections.models.tokenisation import length_batches, memory_ids, pad, prompt_ids


def unembed(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum of the columns of the processed W_U over the set of the memory's tokens."""
    return lens.W_U[:, sorted(set(tokens))].sum(dim=1)


def embed(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum of the rows of the processed W_E over the set of the memory's tokens."""
    return lens.W_E[sorted(set(tokens))].sum(dim=0)


FROM_TOKENS = {"unembed": unembed, "embed": embed}


@dataclass(frozen=True)
class MemoryVectors:
    """The vectors of memories: one for all layers in an encoding of tokens, one a layer in the `layer` encoding."""

    vectors: Float[Tensor, "vector d_model"]
    first_row: Int[np.ndarray, " memory"]
    one_a_layer: Bool[np.ndarray, " memory"]
    layers: Sequence[int]

    def rows(self, memories: Int[np.ndarray, " cell"], layers: Int[np.ndarray, " cell"]) -> Int[np.ndarray, " cell"]:
        """Which of the vectors each cell adds: the memory's (by its place in `encode`'s list) at the cell's layer."""
        return self.first_row[memories] + self.one_a_layer[memories] * np.searchsorted(self.layers, layers)


class MemoryEncoder:
    """Encodes memories for the injections of one model."""

    def __init__(self, engine: InjectionEngine, tokenizer: PreTrainedTokenizerBase, lens: Lens) -> None:
        self.engine, self.tokenizer, self.lens = engine, tokenizer, lens
        # The words of a list come up again and again.
        self._from_tokens = lru_cache(maxsize=8192)(self._encode_tokens)

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """The vectors of (encoding, memory) pairs at some layers, in ascending order.

        `layer` is the attention output of every layer at the last token of the memory's text, run by itself with BOS.
        Raises `StudyError` for a memory without tokens.
        """
        one_a_layer = np.array([encoding == "layer" for encoding, _ in memories])
        n_vectors = np.where(one_a_layer, len(layers), 1)
        first_row = n_vectors.cumsum() - n_vectors
        vectors = torch.empty(int(n_vectors.sum()), self.lens.W_U.shape[0], device=self.lens.W_U.device)
        for row, memory in zip(first_row[~one_a_layer], compress(memories, ~one_a_layer), strict=True):
            vectors[row] = self._from_tokens(*memory)
        outputs = self._attention_outputs([text for encoding, text in memories if encoding == "layer"], layers)
        for row, output in zip(first_row[one_a_layer], outputs, strict=True):
            vectors[row : row + len(layers)] = output
        return MemoryVectors(vectors.to(self.engine.device), first_row, one_a_layer, layers)

    def _encode_tokens(self, encoding: str, text: str) -> Float[Tensor, " d_model"]:
        return FROM_TOKENS[encoding](self.lens, memory_ids(self.tokenizer, text))

    def _attention_outputs(self, texts: Sequence[str], layers: Sequence[int]) -> Float[Tensor, "memory layer d_model"]:
        rows = [prompt_ids(self.tokenizer, text) for text in texts]
        found = torch.empty(len(rows), len(layers), self.lens.W_U.shape[0], device=self.engine.device)
        for batch in length_batches([len(row) for row in rows], MEMORY_TOKENS, MEMORY_PADDING):
            tokens, lengths = pad([rows[index] for index in batch], self.engine.device, MEMORY_PADDING)
            clean = self.engine.clean(tokens, lengths, layers)
            found[batch] = clean.last_attn_out().to(found.device)
        return found
