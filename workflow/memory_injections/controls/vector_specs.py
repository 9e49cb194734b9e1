"""The vectors that controls inject in place of a memory's, from specs of them."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.controls.kinds import CONTROLS, ControlInputs
from memory_injections.injection.memory_vectors import MemoryEncoder, MemoryVectors
from memory_injections.terms import CURATED


class VectorSpec(NamedTuple):
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
        """The spec as text, which stands for it in a table of cells."""
        return json.dumps(self, ensure_ascii=False)

    @classmethod
    def from_key(cls, key: str) -> "VectorSpec":
        """Return the spec of a `key`."""
        return cls(*json.loads(key))


class ControlEncoder:
    """Encodes specs as vectors, from those of the texts in them (a `memory_vectors.Encoder`)."""

    def __init__(self, encoder: MemoryEncoder) -> None:
        self.encoder, self.processed, self.is_relative = encoder, encoder.processed, encoder.is_relative

    def encode(self, memories: Sequence[tuple[str, str]], layers: Sequence[int]) -> MemoryVectors:
        """Encode (encoding, key of a spec) pairs for injections into `layers`, which must be in ascending order."""
        specs = [(encoding, VectorSpec.from_key(key)) for encoding, key in memories]
        texts = {(encoding, text): None for encoding, spec in specs for text in (spec.memory, spec.source) if text}
        known = self.encoder.encode(list(texts), layers)
        rows = dict(zip(texts, zip(known.first_row, known.is_per_layer, strict=True), strict=True))
        is_per_layer = np.array([rows[encoding, spec.memory][1] for encoding, spec in specs])
        vectors = []
        for encoding, spec in specs:
            memory, source = (
                self._take_rows(known, *rows[encoding, text]) if text else None for text in (spec.memory, spec.source)
            )
            assert memory is not None
            vectors.append(self._build(spec, memory, source).expand_as(memory))
        n_vectors = np.where(is_per_layer, len(layers), 1)
        return MemoryVectors(torch.cat(vectors), n_vectors.cumsum() - n_vectors, is_per_layer, layers)

    def _take_rows(self, known: MemoryVectors, first: int, is_per_layer: bool) -> Float[Tensor, "row d_model"]:
        """Return the vectors of a text, centred where the model ignores their mean."""
        vectors = known.vectors[first : first + (len(known.layers) if is_per_layer else 1)]
        return vectors - vectors.mean(dim=1, keepdim=True) if self.processed.is_centred else vectors

    def _build(
        self, spec: VectorSpec, memory: Float[Tensor, "row d_model"], source: Float[Tensor, "row d_model"] | None
    ) -> Float[Tensor, "row d_model"]:
        if spec.control == CURATED:
            return memory
        build, processed = CONTROLS[spec.control].build, self.processed
        assert build is not None, f"{spec.control} is a text"
        noise = torch.randn(memory.shape[1], generator=torch.Generator().manual_seed(spec.seed)).to(memory)
        noise = noise - noise.mean() if processed.is_centred else noise
        return build(ControlInputs(memory, source, processed.W_U[:, spec.answer].to(memory), noise))
