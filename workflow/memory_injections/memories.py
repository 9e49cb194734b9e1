"""From a memory's text to the vector that is injected (paper, section 3.3; follow-up, arXiv 2411.05037)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .engine import InjectionEngine
from .lens import Lens
from .tokens import length_batches, memory_ids, pad, prompt_ids

MAX_TOKENS = 1024
MULTIPLE_OF = 4


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

    row_of: dict[tuple[str, str], int]
    from_tokens: Float[Tensor, "memory d_model"]
    from_layers: Float[Tensor, "memory layer d_model"]
    layers: Sequence[int]

    def at(self, layer: int) -> Float[Tensor, "memory d_model"]:
        """Every memory's vector for an injection at this layer, in the rows that `row_of` gives."""
        if not len(self.from_layers):
            return self.from_tokens
        return torch.cat([self.from_tokens, self.from_layers[:, self.layers.index(layer)]])


class MemoryEncoder:
    """Encodes memories for the injections of one model."""

    def __init__(self, engine: InjectionEngine, tokenizer: PreTrainedTokenizerBase, lens: Lens) -> None:
        self.engine, self.tokenizer, self.lens = engine, tokenizer, lens
        # The words of a list come up again and again.
        self._from_tokens = lru_cache(maxsize=8192)(self._encode_tokens)

    def encode(self, memories: Iterable[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """The vectors of each distinct (encoding, memory); raises `StudyError` for a memory without tokens.

        `layer` is the attention output of every layer at the last token of the memory's text, run by itself with BOS.
        """
        distinct = sorted(set(memories), key=lambda memory: (memory[0] == "layer", memory))
        of_layers = [text for encoding, text in distinct if encoding == "layer"]
        of_tokens = [self._from_tokens(*memory) for memory in distinct[: len(distinct) - len(of_layers)]]
        d_model, device = self.lens.W_U.shape[0], self.engine.device
        return MemoryVectors(
            {memory: row for row, memory in enumerate(distinct)},
            torch.stack(of_tokens).to(device) if of_tokens else torch.empty(0, d_model, device=device),
            self._attention_outputs(of_layers, layers),
            layers,
        )

    def _encode_tokens(self, encoding: str, text: str) -> Float[Tensor, " d_model"]:
        return FROM_TOKENS[encoding](self.lens, memory_ids(self.tokenizer, text))

    def _attention_outputs(self, texts: Sequence[str], layers: Sequence[int]) -> Float[Tensor, "memory layer d_model"]:
        rows = [prompt_ids(self.tokenizer, text) for text in texts]
        found = torch.empty(len(rows), len(layers), self.lens.W_U.shape[0], device=self.engine.device)
        for batch in length_batches([len(row) for row in rows], MAX_TOKENS, MULTIPLE_OF):
            clean = self.engine.clean(*pad([rows[index] for index in batch], self.engine.device, MULTIPLE_OF), layers)
            found[batch] = clean.last_attn_out().to(found.device)
        return found
