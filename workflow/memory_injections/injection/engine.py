"""TODO."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class CleanPass:
    """What one pass without injection leaves behind for a batch of prompts, for injections to start from.

    `resid_pre` and `attn_out` hold, for each layer that was asked for, the residual stream before its block and
    the output of its attention [batch, pos, d_model]; of the last layer's attention only the last position is
    kept. `logits` are those of the last position, in float32.
    """

    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    resid_pre: dict[int, Float[Tensor, "batch pos d_model"]]
    attn_out: dict[int, Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "batch vocab"]

    def last_attn_out(self) -> Float[Tensor, "batch layer d_model"]:
        """Every layer's attention output at the last position, in float32."""
        return torch.stack([last_positions(out, self.lengths).float() for out in self.attn_out.values()], dim=1)


def last_positions(
    values: Float[Tensor, "batch pos d_model"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch d_model"]:
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(len(values), device=values.device), lengths.to(values.device) - 1]
