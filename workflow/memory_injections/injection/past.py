"""Keys and values of the positions before the last one, for batches that run the last position only."""

from copy import copy
from functools import partial
from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers import Cache

# The methods by which a layer's attention adds its own keys to the earlier ones and reads both.
UPDATES = ("update", "update_indexer")


def follow_rows(past: Cache | None, prompts: Int[Tensor, " row"]) -> Cache | None:
    """Return the past of a batch that has these prompts in its rows, for one pass; `past` itself stays as it is.

    Rows may join the batch at any layer: an attention that sees only the first rows finds their past alone.
    """
    if past is None:
        return None
    own = copy(past)
    own.layers = [copy(layer) for layer in past.layers]
    for layer, before in zip(own.layers, past.layers, strict=True):
        for name in UPDATES:
            if hasattr(layer, name):
                setattr(layer, name, partial(_update_rows, layer, before, prompts, name))
    return own


def _update_rows(
    layer: Any, before: Any, prompts: Int[Tensor, " row"], name: str, states: Tensor, *args: Any, **kwargs: Any
) -> Any:
    """Give a layer the past of the rows of `states`, and let its own method add these."""
    for attribute, values in vars(before).items():
        if isinstance(values, Tensor) and values.ndim > 1:
            setattr(layer, attribute, values[prompts[: len(states)].to(values.device)])
    return getattr(type(layer), name)(layer, states, *args, **kwargs)
