"""What every injection engine offers: clean and injected forward passes of one model (paper, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
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
      Of the last layer, an engine may keep the positions that are read only, and zeros elsewhere.
    - `resid_pre`: for each recorded layer, the residual stream before its block, [batch, pos, d_model]
    - `logits` [read, vocab] at each prompt's last position, in float32, or at its last ones if there is `n_read`
    - `n_read`: how many of each prompt's last positions are read, of injections from here too; None is one of each
    - `past`: keys and values of earlier positions that no injection changes, if `tokens` are the last ones alone
    """

    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    resid_pre: dict[int, Float[Tensor, "batch pos d_model"]]
    attn_out: dict[int, Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "read vocab"]
    n_read: Sequence[int] | None = None
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
        self,
        tokens: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"],
        layers: Sequence[int] | None = None,
        n_read: Sequence[int] | None = None,
    ) -> CleanPass:
        """Run prompts without injection, and record what injections into `layers` (by default all) start from.

        With `n_read`, the logits of this pass, and of the injections that start from it, are those of so many of each
        prompt's last positions, in the order of rows and positions.
        """

    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
        where: Bool[Tensor, "cell pos"] | None = None,
    ) -> Float[Tensor, "read vocab"]:
        """Return each cell's logits, in float32, at the positions of its prompt that `clean` reads.

        A cell is one vector added to the attention output of one layer for one prompt. Cell i adds `vectors[i]` in
        `layers[i]` to the prompt in row `prompts[i]` of `clean`, at the positions where `where[i]` is true, by default
        at all of them. `layers` must be in ascending order.
        """


@dataclass(frozen=True)
class Reads:
    """The positions of a batch that are read: `rows` and `positions` of each, in their order.

    The first n rows have `stops[n]` of them; None if every row has one.
    """

    rows: Int[Tensor, " read"]
    positions: Int[Tensor, " read"]
    stops: Sequence[int] | None

    @classmethod
    def of_last(cls, lengths: Int[Tensor, " row"], n_read: Sequence[int] | None = None) -> "Reads":
        """Read each row's last position, or so many of its last ones; `lengths` are the rows' numbers of tokens."""
        if n_read is None:
            return cls(torch.arange(len(lengths), device=lengths.device), lengths - 1, None)
        stops = list(accumulate(n_read, initial=0))
        rows = torch.arange(len(n_read)).repeat_interleave(torch.tensor(n_read))
        from_end = torch.tensor(stops[1:])[rows] - torch.arange(stops[-1])
        rows, from_end = rows.to(lengths.device), from_end.to(lengths.device)
        return cls(rows, lengths[rows] - from_end, stops)

    def count(self, n_rows: int) -> int:
        """Return how many positions of the first rows are read."""
        return n_rows if self.stops is None else self.stops[n_rows]

    def select(self, values: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "read d_model"]:
        """Select what is read of the first rows, those of `values`."""
        rows, positions = (index[: self.count(len(values))].to(values.device) for index in (self.rows, self.positions))
        return values[rows, positions]

    def place(self, values: Float[Tensor, "read d_model"], n_rows: int, n_pos: int) -> Float[Tensor, "row pos d_model"]:
        """Put what was read of the first rows back to its positions, with zeros elsewhere."""
        placed = values.new_zeros(n_rows, n_pos, values.shape[-1])
        rows, positions = (index[: len(values)].to(values.device) for index in (self.rows, self.positions))
        placed[rows, positions] = values
        return placed


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
