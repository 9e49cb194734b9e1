"""The vectors that controls inject in place of a memory's, from recipes."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.controls.kinds import CONTROLS, Ingredients
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
            vectors.append(self._build(recipe, memory, source))
        n_vectors = np.where(is_per_layer, len(layers), 1)
        return MemoryVectors(torch.cat(vectors), n_vectors.cumsum() - n_vectors, is_per_layer, layers)

    def _take_rows(self, known: MemoryVectors, first: int, is_per_layer: bool) -> Float[Tensor, "row d_model"]:
        """Return the vectors of a text, centred where the model ignores their mean."""
        vectors = known.vectors[first : first + (len(known.layers) if is_per_layer else 1)]
        return vectors - vectors.mean(dim=1, keepdim=True) if self.encoder.processed.is_centred else vectors

    def _build(
        self, recipe: Recipe, memory: Float[Tensor, "row d_model"], source: Float[Tensor, "row d_model"] | None
    ) -> Float[Tensor, "row d_model"]:
        if recipe.control == CURATED:
            return memory
        build, processed = CONTROLS[recipe.control].build, self.encoder.processed
        assert build is not None, f"{recipe.control} is a text"
        noise = torch.randn(memory.shape[1], generator=torch.Generator().manual_seed(recipe.seed)).to(memory)
        noise = noise - noise.mean() if processed.is_centred else noise
        return build(Ingredients(memory, source, processed.W_U[:, recipe.answer].to(memory), noise))
