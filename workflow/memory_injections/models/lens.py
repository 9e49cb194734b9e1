"""A model's processed weights that translate between its residual stream and its vocabulary.

They come from TransformerLens' `TransformerBridge` with `HookedTransformer`'s default weight processing: the
final norm's gain folded into W_U, W_U and the writing weights centred where the model has LayerNorm, W_U
centred over the vocabulary, value biases folded into the output bias.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Lens:
    """Embedding, unembedding and the attention heads' output matrices, processed, in float32."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"]
    W_O: Float[Tensor, "layer head d_head d_model"]

    @classmethod
    def of(cls, bridge: "TransformerBridge") -> "Lens":
        """Take the lens of a bridge from `loading.load_bridge`."""
        return cls(*(getattr(bridge, field.name).detach().float().contiguous() for field in fields(cls)))

    @cached_property
    def is_centred(self) -> bool:
        """Whether the mean over d_model is taken out, because the model ignores it (LayerNorm)."""
        return bool(self.W_U.mean(dim=0).abs().max() < 1e-4 * self.W_U.abs().max())

    def save(self, path: Path) -> None:
        """Write the lens as one safetensors file."""
        save_file({field.name: getattr(self, field.name).cpu() for field in fields(self)}, path)

    @classmethod
    def load(cls, path: str | Path, device: torch.device) -> "Lens":
        """Read what `save` wrote; on the CPU the tensors stay memory-mapped."""
        return cls(**load_file(path, device=str(device)))


def compute_head_results(
    lens: Lens, z: Float[Tensor, "... layer head d_head"]
) -> Float[Tensor, "... layer head d_model"]:
    """Return what each head adds to the residual stream, [..., layer, head, d_model], from its `hook_z`."""
    return torch.einsum("...lhd,lhdm->...lhm", z, lens.W_O)


def read_in_vocabulary(lens: Lens, vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
    """Return the logits of residual-stream vectors: W_U and b_U, without the final norm (paper, section 3.2)."""
    # One product of two matrices: with more dimensions, torch would multiply slice by slice.
    logits = torch.addmm(lens.b_U, vectors.flatten(0, -2), lens.W_U)
    return logits.unflatten(0, vectors.shape[:-1])
