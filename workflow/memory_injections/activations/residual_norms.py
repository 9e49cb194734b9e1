"""The length of the residual stream, which relative doses are shares of."""

import torch

from memory_injections.activations.cache_file import ActivationCache

PROMPTS_AT_ONCE = 100


def measure_residual_norms(cache: ActivationCache) -> list[float]:
    """Return the mean L2 norm of the residual stream before each block, at the last position of the obscure prompts.

    It is rounded to five digits, so that cells are found again although another machine sums in another order.
    """
    norms = [
        cache.rows("obscure.resid", start, start + PROMPTS_AT_ONCE)[:, :-1].norm(dim=-1)
        for start in range(0, cache.n_prompts, PROMPTS_AT_ONCE)
    ]
    return [float(f"{norm:.5g}") for norm in torch.cat(norms).mean(dim=0).tolist()]
