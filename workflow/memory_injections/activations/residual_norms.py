"""The length of the residual stream, which relative doses are shares of."""

import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.models.processed_weights import ProcessedWeights

PROMPTS_AT_ONCE = 100


def measure_residual_norms(cache: ActivationCache, processed: ProcessedWeights) -> Float[Tensor, "prompt layer"]:
    """Return the length of the residual stream before each block, at the last position of the obscure prompts."""
    norms = [
        processed.measure_lengths(cache.rows("obscure.resid", start, start + PROMPTS_AT_ONCE)[:, :-1])
        for start in range(0, cache.n_prompts, PROMPTS_AT_ONCE)
    ]
    return torch.cat(norms)
