"""From a memory's text to the vector that is injected (paper, section 3.3; follow-up, arXiv 2411.05037)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .lens import Lens


def unembed(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum of the columns of the processed W_U over the set of the memory's tokens."""
    return lens.W_U[:, sorted(set(tokens))].sum(dim=1)


def embed(lens: Lens, tokens: Sequence[int]) -> Float[Tensor, " d_model"]:
    """Sum of the rows of the processed W_E over the set of the memory's tokens."""
    return lens.W_E[sorted(set(tokens))].sum(dim=0)


FROM_TOKENS = {"unembed": unembed, "embed": embed}


def from_tokens(lens: Lens, encoding: str, memories: Sequence[Sequence[int]]) -> Float[Tensor, "memory d_model"]:
    """The vectors of several memories, from their tokens, in an encoding that every layer shares."""
    return torch.stack([FROM_TOKENS[encoding](lens, tokens) for tokens in memories])
