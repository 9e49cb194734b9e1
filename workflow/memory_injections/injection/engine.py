"""What every injection engine offers: clean and injected forward passes of one model (paper, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache

from memory_injections.models.loading import stack_blocks


@dataclass(frozen=True)
class CleanPass:
    """A forward pass of a batch of prompts without injection, from which injected passes start.

    - `tokens` [batch, pos], padded on the right, and `lengths` [batch], the number of tokens of each prompt
    - `attn_out`: for each recorded layer, what its attention adds to the residual stream, [batch, pos, d_model].
      Of the last layer, an engine may keep the last position only: [batch, 1, d_model].
    - `resid_pre`: for each recorded layer, the residual stream before its block, [batch, pos, d_model]
    - `logits` [batch, vocab] at each prompt's last position, in float32
    - `reads_all`: whether logits, of injections from here too, are those of every position, [batch, pos, vocab]
    - `past`: keys and values of earlier positions that no injection changes, if `tokens` are the last ones alone
    """

    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    resid_pre: dict[int, Float[Tensor, "batch pos d_model"]]
    attn_out: dict[int, Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "batch vocab"]
    reads_all: bool = False
    past: Cache | None = None

    def stack_last_attn_out(self) -> Float[Tensor, "batch layer d_model"]:
        """Return the attention outputs of all recorded layers at each prompt's last position, in float32."""
        last = (select_last(out, self.lengths) for out in self.attn_out.values())
        return stack_blocks(last, self.logits.device, dim=1)


class InjectionEngine(Protocol):
    """Clean and injected forward passes of one causal language model.

    The model has `n_layers` blocks and weights of `dtype`, and takes `n_ctx` tokens, None if it has no such limit.
    Inputs are expected on `device`. Prompts of different lengths are padded on the right. They need no mask: in a
    causal model, no position sees a later one.
    """

    n_layers: int
    n_ctx: int | None
    device: torch.device
    dtype: torch.dtype

    def clean(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"], layers: Sequence[int] | None = None
    ) -> CleanPass:
        """Run prompts without injection, and record what injections into `layers` (by default all) start from."""

    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
        where: Bool[Tensor, "cell pos"] | None = None,
    ) -> Float[Tensor, "cell vocab"]:
        """Return each cell's logits at its prompt's last position, in float32.

        A cell is one vector added to the attention output of one layer for one prompt. Cell i adds `vectors[i]` in
        `layers[i]` to the prompt in row `prompts[i]` of `clean`, at the positions where `where[i]` is true, by default
        at all of them. `layers` must be in ascending order.
        """


def repeat_rows(n_rows: int, least: int, device: torch.device) -> Int[Tensor, " row"]:
    """Return all row numbers, starting again from the first until there are at least so many."""
    return torch.arange(max(n_rows, least), device=device) % n_rows


def place_vectors(
    vectors: Float[Tensor, "cell d_model"], where: Bool[Tensor, "cell pos"] | None
) -> Float[Tensor, "cell #pos d_model"]:
    """Return what each cell adds at each position: its vector at all of them, or where `where` is true."""
    return vectors[:, None] if where is None else vectors[:, None] * where[:, :, None]


def select_last(
    values: Float[Tensor, "batch pos d_model"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch d_model"]:
    """Select each prompt's last position, unless `values` has that position only."""
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(len(values), device=values.device), lengths.to(values.device) - 1]
