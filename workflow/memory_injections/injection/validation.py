"""Checks of an injection: whether its layer, head, positions and magnitude exist, and whether it overflowed."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from memory_injections.errors import LayerError, OverflowingInjectionError, StudyError

# Tokens of a prompt, counted from 0 (BOS); negative numbers count from the end.
Positions = Sequence[int] | slice


def select_positions(positions: Positions | None, n_positions: int) -> list[int]:
    """Return the positions, counted from 0 (BOS), that a list or slice selects; None selects all.

    Raises `StudyError` if a position is out of range, or if none is selected.
    """
    every = range(n_positions)
    if positions is None or isinstance(positions, slice):
        selected = list(every[positions or slice(None)])
    else:
        for position in positions:
            if not -n_positions <= position < n_positions:
                raise StudyError(
                    f"position {position} is out of range; the prompt has {n_positions} tokens, BOS included: "
                    f"0 to {n_positions - 1}, or negative numbers from the end"
                )
        selected = sorted({every[position] for position in positions})
    if not selected:
        raise StudyError(f"positions {positions!r} select none of the prompt's {n_positions} tokens; select some")
    return selected


def check_layer(layer: int, n_layers: int) -> None:
    """Raise `LayerError` unless the model has that layer."""
    if not 0 <= layer < n_layers:
        raise LayerError(layer, n_layers)


def check_head(head: int, n_heads: int) -> None:
    """Raise `StudyError` unless the model's layers have that attention head."""
    if not 0 <= head < n_heads:
        raise StudyError(f"head {head} is out of range; the model has {n_heads} heads: 0 to {n_heads - 1}")


def check_magnitude(magnitude: float) -> None:
    """Raise `StudyError` unless the magnitude is a finite number."""
    if not math.isfinite(magnitude):
        raise StudyError(f"magnitude {magnitude} is not a finite number; use one that is, such as 3 or 0.5")


def check_overflow(logits: Float[Tensor, "batch vocab"], layer: int, magnitude: float) -> None:
    """Raise `OverflowingInjectionError` if the logits of an injection are not all finite."""
    if not logits.isfinite().all():
        raise OverflowingInjectionError(layer, magnitude)
