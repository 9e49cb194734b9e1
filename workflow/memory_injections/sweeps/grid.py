"""Grids of injections: memories, encodings, layers and magnitudes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from memory_injections.errors import LayerError, TooManyShardsError
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.terms import CURATED, Count, Index, Late, MemoryKind, Number, Section

# The paper's grid (section 4).
MAGNITUDES = tuple(float(magnitude) for magnitude in range(1, 16))
EncodingName = Annotated[str, Late(lambda: Literal[tuple(ENCODINGS)])]


class LayerStep(Section):
    """Every n-th layer, from layer 0."""

    step: Count


def check_list(value: Any) -> Any:
    """Return a value of a grid; raise `ValueError` for an empty list, one with repeats, or numbers without end."""
    if isinstance(value, tuple):
        if not value:
            raise ValueError("the list is empty; name at least one")
        twice = [item for item in value if value.count(item) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands in the list twice; name each once")
        if not all(math.isfinite(item) for item in value if isinstance(item, float)):
            raise ValueError("magnitudes must be finite numbers")
    return value


class RelativeDoses(Section):
    """Magnitudes relative to the residual stream, instead of factors of the memory vector."""

    relative: tuple[Number, ...] = Field(
        min_length=1,
        description="the injected vector's length, as shares of the prompt's residual stream's at that layer",
    )

    _check = field_validator("relative")(check_list)


Magnitudes = Annotated[
    Annotated[tuple[Number, ...], Field(min_length=1), Tag("list")] | Annotated[RelativeDoses, Tag("relative")],
    Discriminator(lambda value: "relative" if isinstance(value, Mapping | RelativeDoses) else "list"),
]


class InjectionGrid(Section):
    """A grid of injections: every memory kind x encoding x layer x magnitude, for every prompt pair."""

    memories: tuple[MemoryKind, ...] = Field(
        default=(CURATED,), min_length=1, description="`curated`, or columns of the word list"
    )
    encodings: tuple[EncodingName, ...] = Field(
        default=("unembed",), min_length=1, description="how a memory is encoded"
    )
    layers: Literal["all"] | LayerStep | tuple[Index, ...] = Field(
        default="all", description="`all`, a list of layers, or `{step: n}` for every n-th from layer 0"
    )
    magnitudes: Magnitudes = Field(
        default=MAGNITUDES,
        description="factors of the memory vector, any real numbers; or `{relative: [0.05, 0.1]}`: the injected "
        "vector's length, as shares of the prompt's residual stream's at that layer, in files called "
        "`unembed_relative`, for instance",
    )

    score: Literal["first_token", "whole"] = Field(
        default="first_token",
        description="what of the answer is scored in every cell: its first token, or that and the `whole` answer",
    )

    _check = field_validator("memories", "encodings", "layers", "magnitudes")(check_list)

    def list_kinds(self) -> list[tuple[str, str, bool]]:
        """List every (memories, encoding, whether doses are relative) of the grid."""
        relative = isinstance(self.magnitudes, RelativeDoses)
        return [(memories, encoding, relative) for memories in self.memories for encoding in self.encodings]

    def list_magnitudes(self) -> tuple[float, ...]:
        """List the magnitudes, be they factors or relative doses."""
        return self.magnitudes.relative if isinstance(self.magnitudes, RelativeDoses) else self.magnitudes

    def list_layers(self, n_layers: int) -> list[int]:
        """List the layers for a model with `n_layers`; raise `LayerError` for one that it does not have."""
        if self.layers == "all":
            return list(range(n_layers))
        if isinstance(self.layers, LayerStep):
            return list(range(0, n_layers, self.layers.step))
        if max(self.layers) >= n_layers:
            raise LayerError(max(self.layers), n_layers)
        return sorted(self.layers)


@dataclass(frozen=True)
class Sweep:
    """One kind of memory in one encoding, over layers and magnitudes, be they factors or doses `relative` to the
    residual stream. It may score whole answers beside their first tokens."""

    memories: str
    encoding: str
    layers: Sequence[int]
    magnitudes: Sequence[float]
    relative: bool = False
    scores_whole: bool = False

    @property
    def cells_per_prompt(self) -> int:
        """Number of cells for each prompt."""
        return len(self.layers) * len(self.magnitudes)


def expand_grids(grids: Iterable[InjectionGrid], n_layers: int) -> list[Sweep]:
    """Expand grids into sweeps for a model with `n_layers`; raise `LayerError` for a layer that it does not have."""
    return [
        Sweep(memories, encoding, grid.list_layers(n_layers), grid.list_magnitudes(), relative, grid.score == "whole")
        for grid in grids
        for memories, encoding, relative in grid.list_kinds()
    ]


def take_shard(sweeps: Sequence[Sweep], shard: int, shards: int) -> list[Sweep]:
    """Take one job's share of the sweeps: every `shards`-th layer. Jobs count from 1.

    Early layers take longer than late ones, so each job gets some of both. Raises `TooManyShardsError` for more jobs
    than layers.
    """
    layers = sorted({layer for sweep in sweeps for layer in sweep.layers})
    if shards > len(layers):
        raise TooManyShardsError(shards, len(layers))
    own = layers[shard - 1 :: shards]
    parts = [replace(sweep, layers=[layer for layer in sweep.layers if layer in own]) for sweep in sweeps]
    return [part for part in parts if part.layers]


def split_sweeps(sweeps: Iterable[Sweep]) -> list[list[Sweep]]:
    """Split sweeps into those that are computed together: of one kind of magnitudes, and with the same scores."""

    def describe(sweep: Sweep) -> tuple[bool, bool]:
        return sweep.relative, sweep.scores_whole

    return [list(part) for _, part in groupby(sorted(sweeps, key=describe), key=describe)]
