"""The vectors that controls inject in place of a memory's, from recipes.

A control is a function from `Ingredients` to vectors, under `builds`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.controls.kinds import VectorControl
from memory_injections.injection.memory_vectors import MemoryEncoder, MemoryVectors
from memory_injections.terms import CURATED


class Recipe(NamedTuple):
    """What the vector of a control is made of, and the positions it is added at, from `start` to before `stop`.

    `source` is the other text that the control takes, `answer` the token of the prompt's answer, and `seed` fixes what
    is drawn; parts that a control does not use are empty or 0.
    """

    control: str
    memory: str
    start: int
    stop: int
    source: str = ""
    answer: int = 0
    seed: int = 0

    @property
    def key(self) -> str:
        """The recipe as text, which stands for it in a table of cells."""
        return json.dumps(self, ensure_ascii=False)

    @classmethod
    def from_key(cls, key: str) -> "Recipe":
        """Return the recipe of a `key`."""
        return cls(*json.loads(key))


@dataclass(frozen=True)
class Ingredients:
    """What controls are made of, in the coordinates of the processed weights: centred where the model has LayerNorm.

    `memory` is the vector B of the prompt's own memory and `source` that of another text, with a row for each layer or
    one for all; `answer` is the answer's column of W_U, and `noise` is drawn from N(0, I).
    """

    memory: Float[Tensor, "row d_model"]
    source: Float[Tensor, "row d_model"] | None
    answer: Float[Tensor, " d_model"]
    noise: Float[Tensor, " d_model"]


Build = Callable[[Ingredients], Float[Tensor, "row d_model"]]
BUILDERS: dict[str, Build] = {}


def builds(control: VectorControl) -> Callable[[Build], Build]:
    """Register the function that builds the vectors of a control."""

    def register(function: Build) -> Build:
        BUILDERS[control] = function
        return function

    return register


def match_length(
    vectors: Float[Tensor, "#row d_model"], memory: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row d_model"]:
    """Give vectors the lengths of the memory's."""
    smallest = torch.finfo(memory.dtype).tiny
    return vectors * (memory.norm(dim=1) / vectors.norm(dim=1).clamp_min(smallest))[:, None]


@builds("random_direction")
def draw_direction(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """A random direction, with the length of B: not any push."""
    return match_length(parts.noise[None], parts.memory)


@builds("matched_words")
def take_words(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """A random word's vector, with the length of B: content, not dose."""
    assert parts.source is not None
    return match_length(parts.source, parts.memory)


@builds("shuffled")
@builds("other_entity")
def take_source(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """The vector of another text as it is: this entity, not any."""
    assert parts.source is not None
    return parts.source


@builds("opposite")
def turn_around(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """-B: direction."""
    return -parts.memory


@builds("answer")
def take_answer(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """The answer's column of W_U, with the length of B: the machinery works."""
    return match_length(parts.answer[None], parts.memory)


@builds("without_answer")
def remove_answer(parts: Ingredients) -> Float[Tensor, "row d_model"]:
    """B without its component along the answer's column of W_U: no direct write to the answer's logit."""
    unit = parts.answer / parts.answer.norm()
    return parts.memory - (parts.memory @ unit)[:, None] * unit


BUILDERS[CURATED] = lambda parts: parts.memory


class ControlEncoder:
    """Encodes recipes as vectors, from those of the texts in them (a `memory_vectors.Encoder`)."""

    def __init__(self, encoder: MemoryEncoder) -> None:
        self.encoder = encoder

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, key of a recipe) pairs for injections into `layers`, which must be in ascending order."""
        recipes = [(encoding, Recipe.from_key(key)) for encoding, key in memories]
        texts = {
            (encoding, text): None for encoding, recipe in recipes for text in (recipe.memory, recipe.source) if text
        }
        known = self.encoder.encode(list(texts), layers)
        rows = dict(zip(texts, zip(known.first_row, known.is_per_layer, strict=True), strict=True))
        is_per_layer = np.array([rows[encoding, recipe.memory][1] for encoding, recipe in recipes])
        vectors = []
        for encoding, recipe in recipes:
            memory, source = (
                self._take_rows(known, *rows[encoding, text]) if text else None
                for text in (recipe.memory, recipe.source)
            )
            assert memory is not None
            vectors.append(BUILDERS[recipe.control](self._gather(recipe, memory, source)))
        n_vectors = np.where(is_per_layer, len(layers), 1)
        return MemoryVectors(torch.cat(vectors), n_vectors.cumsum() - n_vectors, is_per_layer, layers)

    def _take_rows(self, known: MemoryVectors, first: int, is_per_layer: bool) -> Float[Tensor, "row d_model"]:
        """Return the vectors of a text, centred where the model ignores their mean."""
        vectors = known.vectors[first : first + (len(known.layers) if is_per_layer else 1)]
        return vectors - vectors.mean(dim=1, keepdim=True) if self.encoder.lens.is_centred else vectors

    def _gather(self, recipe: Recipe, memory: Tensor, source: Tensor | None) -> Ingredients:
        lens = self.encoder.lens
        noise = torch.randn(memory.shape[1], generator=torch.Generator().manual_seed(recipe.seed)).to(memory)
        noise = noise - noise.mean() if lens.is_centred else noise
        return Ingredients(memory, source, lens.W_U[:, recipe.answer].to(memory), noise)
