"""How an answer is scored."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def probability_and_rank(
    logits: Float[Tensor, "batch d_vocab"], token: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Probability (softmax in float32) and rank (number of tokens with a higher logit) of one token a row."""
    logits = logits.float()
    own = logits.gather(1, token[:, None])
    return (own[:, 0] - logits.logsumexp(dim=1)).exp(), torch.count_nonzero(logits > own, dim=1)
