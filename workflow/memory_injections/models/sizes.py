"""How large a model is, and what a pass through it costs.

FLOP are counted as `torch.utils.flop_counter` does: two for each multiplication in a matrix product, attention as full
squares.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from memory_injections.terms import KIND_COLUMNS, Precision

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

GIB = 2**30
BYTES_PER_WEIGHT: Mapping[Precision, int] = {"float32": 4, "tf32": 4, "bfloat16": 2}
# What configurations call the number of tokens that a model takes.
CONTEXTS = ("max_position_embeddings", "max_seq_len")
# A model takes at most this share of a GPU's memory; the rest is for its activations.
MODEL_SHARE = 0.8


@dataclass(frozen=True)
class ModelSize:
    """A model's matrices, counted in weights; its blocks are alike.

    Each block has `reading` weights in its query, key and value matrices, `writing` in its attention's output matrix,
    and `mlp` in the others.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_vocab: int
    n_parameters: int
    reading: int
    writing: int
    mlp: int

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "ModelSize":
        """The size that a model's manifest records."""
        return cls(**{field.name: manifest[field.name] for field in fields(cls)})

    def weight_bytes(self, precision: Precision = "float32") -> int:
        """Memory of the weights."""
        return self.n_parameters * BYTES_PER_WEIGHT[precision]

    @property
    def processed_bytes(self) -> int:
        """Memory of `ProcessedWeights`: embedding, unembedding and output matrices with biases, in float32."""
        written = self.n_layers * (self.writing + self.d_model)
        return 4 * (2 * self.d_vocab * self.d_model + self.d_vocab + written)

    @property
    def activation_bytes(self) -> int:
        """Bytes of one prompt pair in the activation cache, whose tensors `activations.recording` lists."""
        streams = (3 * self.n_layers + 1) * self.d_model
        heads = self.n_layers * self.writing // self.d_model
        numbers, ids = 8 + 4 + 8, 3 * 8
        return len(KIND_COLUMNS) * (4 * (streams + heads) + numbers) + ids

    @property
    def unembedding(self) -> int:
        """FLOP of the logits at one position."""
        return 2 * self.d_model * self.d_vocab

    def _attention(self, positions: float) -> float:
        """FLOP of a block's attention, without its output matrix."""
        return positions * (2 * self.reading + 4 * positions * self.writing // self.d_model)

    def full_pass(self, positions: float) -> float:
        """FLOP of a pass that computes everything, logits at every position included."""
        block = self._attention(positions) + 2 * positions * (self.writing + self.mlp)
        return self.n_layers * block + positions * self.unembedding

    def clean_pass(self, positions: float) -> float:
        """FLOP of `SkippingEngine.clean` for one prompt: the last block writes at the last position only."""
        written = (self.n_layers - 1) * positions + 1
        return self.n_layers * self._attention(positions) + 2 * written * (self.writing + self.mlp) + self.unembedding

    def cell(self, layer: int, positions: float, n_read: float = 1) -> float:
        """FLOP of `SkippingEngine.injected` for one cell: from the layer's MLP on, without its attention.

        Logits are read at the last `n_read` of its positions.
        """
        above = self.n_layers - 1 - layer
        attention = above * self._attention(positions)
        writing = ((above - 1) * positions + n_read) * self.writing if above else 0
        return attention + 2 * (writing + (above * positions + n_read) * self.mlp) + n_read * self.unembedding

    def heads(self, n_texts: int) -> float:
        """FLOP of `read_each_head`: every head's output at one position of some texts, read in vocabulary space."""
        width = self.writing // self.d_model
        direct = n_texts * (2 * self.writing + self.n_heads * self.unembedding)
        return self.n_layers * min(direct, width * (self.unembedding + n_texts * 2 * self.d_vocab))


def measure_context(config: "PreTrainedConfig") -> int | None:
    """Return how many tokens a model takes; None if its configuration sets no limit."""
    text = config.get_text_config()
    return next((getattr(text, name) for name in CONTEXTS if getattr(text, name, None) is not None), None)


def count_gpus(model_bytes: float, gpu_bytes: float) -> int:
    """Return the number of GPUs of that memory that a model of this size needs."""
    return math.ceil(model_bytes / (MODEL_SHARE * gpu_bytes))
