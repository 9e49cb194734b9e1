"""Checks of where, and how strongly, a memory is to be injected."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from memory_injections.errors import StudyError

Positions = Sequence[int] | slice


def selected(positions: Positions | None, n_positions: int) -> list[int]:
    """The positions, from 0 (BOS), that a list or slice selects; all by default, negative ones from the end.

    Raises `StudyError` for one that is out of range, or if none is selected.
    """
    everywhere = range(n_positions)
    if positions is None or isinstance(positions, slice):
        found = list(everywhere[positions or slice(None)])
    else:
        for position in positions:
            if not -n_positions <= position < n_positions:
                raise StudyError(
                    f"position {position} is out of range; the prompt has {n_positions} tokens, BOS included: "
                    f"0 to {n_positions - 1}, or negative ones from the end"
                )
        found = sorted({everywhere[position] for position in positions})
    if not found:
        raise StudyError(f"positions {positions!r} select none of the prompt's {n_positions} tokens; select some")
    return found


def check_index(what: str, index: int, number: int) -> None:
    """Raise `StudyError` unless the model has that layer, or head."""
    if not 0 <= index < number:
        raise StudyError(f"{what} {index} is out of range; the model has {number} {what}s: 0 to {number - 1}")


def check_magnitude(magnitude: float) -> None:
    """Raise `StudyError` unless the magnitude is a finite number."""
    if not math.isfinite(magnitude):
        raise StudyError(f"magnitude {magnitude} is not a finite number; use one that is, such as 3 or 0.5")


def check_overflow(logits: Float[Tensor, "batch d_vocab"], layer: int, magnitude: float) -> None:
    """Raise `StudyError` if an injection made logits that are no finite numbers."""
    if not logits.isfinite().all():
        raise StudyError(
            f"magnitude {magnitude:g} at layer {layer} overflows the model's arithmetic; use a smaller one"
        )
