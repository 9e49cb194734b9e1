"""A model's processed weights that translate between its residual stream and its vocabulary.

They come from TransformerLens' `TransformerBridge` with `HookedTransformer`'s default weight processing: the
final norm's gain folded into W_U, W_U and the writing weights centred where the model has LayerNorm, W_U
centred over the vocabulary, value biases folded into the output bias.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from memory_injections.errors import UnsupportedArchitectureError
from memory_injections.models.limits import READ_AT_ONCE
from memory_injections.models.loading import stack_blocks

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class ProcessedWeights:
    """Embedding, unembedding and what attention writes with, processed, in float32.

    Where a norm follows the attention, `norm_w` is its gain and `norm_eps` what it adds to the mean square.
    """

    W_E: Float[Tensor, "d_vocab d_model"]
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"]
    W_O: Float[Tensor, "layer head d_head d_model"]
    b_O: Float[Tensor, "layer d_model"]
    norm_w: Float[Tensor, "layer d_model"] | None = None
    norm_eps: Float[Tensor, ""] | None = None

    @classmethod
    def of(cls, bridge: "TransformerBridge") -> "ProcessedWeights":
        """Take the processed weights of a bridge from `loading.load_bridge`.

        Raises `UnsupportedArchitectureError` if the bridge does not show the heads' output matrices.
        """
        blocks = list(bridge.blocks)
        if getattr(blocks[0].attn, "W_O", None) is None:
            raise UnsupportedArchitectureError(
                str(bridge.cfg.architecture), "TransformerLens does not show its heads' output matrices"
            )
        # Some blocks multiply what they add to the residual stream.
        scale = getattr(blocks[0], "residual_contribution_scale", 1)
        no_bias = torch.zeros_like(bridge.W_E[0])
        device, biases = no_bias.device, [getattr(block.attn, "b_O", None) for block in blocks]
        written = [stack_blocks((no_bias if b_O is None else b_O for b_O in biases), device) * scale]
        norms = [block.ln1_post.original_component for block in blocks if "ln1_post" in block.submodules]
        if norms:
            # To a vector of ones, whose mean square is one, such a norm does hardly more than multiply it by the gain.
            eps = torch.tensor(bridge.cfg.eps)
            gains = (norm(torch.ones_like(no_bias, device=next(norm.parameters()).device)) for norm in norms)
            written += [stack_blocks(gains, device) * (1 + eps).sqrt(), eps]
        matrices = (bridge.W_E, bridge.W_U, bridge.b_U, bridge.W_O * scale, *written)
        return cls(*(matrix.detach().float().to(device).contiguous() for matrix in matrices))

    def select(self, layers: Sequence[int]) -> "ProcessedWeights":
        """Return the weights for attention outputs of some layers only."""
        norm_w = None if self.norm_w is None else self.norm_w[layers]
        return replace(self, W_O=self.W_O[layers], b_O=self.b_O[layers], norm_w=norm_w)

    @cached_property
    def is_centred(self) -> bool:
        """Whether the mean over d_model is taken out, because the model ignores it (LayerNorm)."""
        return bool(self.W_U.mean(dim=0).abs().max() < 1e-4 * self.W_U.abs().max())

    def measure_lengths(self, vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return the L2 norms of residual-stream vectors, never zero: centred where the model has LayerNorm."""
        vectors = vectors.float()
        vectors = vectors - vectors.mean(dim=-1, keepdim=True) if self.is_centred else vectors
        return vectors.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)

    def save(self, path: Path) -> None:
        """Write the weights as one safetensors file."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        save_file({name: tensor.cpu() for name, tensor in tensors.items() if tensor is not None}, path)

    @classmethod
    def load(cls, path: str | Path, device: torch.device) -> "ProcessedWeights":
        """Read what `save` wrote; on the CPU the tensors stay memory-mapped."""
        return cls(**load_file(path, device=str(device)))


def compute_head_results(
    processed: ProcessedWeights, z: Float[Tensor, "... layer head d_head"]
) -> Float[Tensor, "... layer head d_model"]:
    """Return what each head adds to the residual stream, [..., layer, head, d_model], from its `hook_z`.

    A norm behind the attention divides every head's part by the size of the whole.
    """
    return torch.einsum("...lhd,lhdm->...lhm", *_fold_norm(processed, z))


def compute_attention_output(
    processed: ProcessedWeights, z: Float[Tensor, "... layer head d_head"]
) -> Float[Tensor, "... layer d_model"]:
    """Return what attention adds to the residual stream as a whole: all heads and the output bias."""
    whole = torch.einsum("...lhd,lhdm->...lm", _cut_heads(processed, z), processed.W_O) + processed.b_O
    return whole if processed.norm_w is None else whole * _scale_by_norm(processed, whole)


def compute_head_swaps(
    processed: ProcessedWeights,
    z: Float[Tensor, "... layer head d_head"],
    other: Float[Tensor, "... layer head d_head"],
) -> Float[Tensor, "... layer head d_model"]:
    """Return what attention adds more to the residual stream if one head at a time has the `hook_z` of `other`."""
    z, other = _cut_heads(processed, z), _cut_heads(processed, other)
    change = torch.einsum("...lhd,lhdm->...hlm", other - z, processed.W_O)
    if processed.norm_w is not None:
        whole = (torch.einsum("...lhd,lhdm->...lm", z, processed.W_O) + processed.b_O)[..., None, :, :]
        swapped = whole + change
        change = swapped * _scale_by_norm(processed, swapped) - whole * _scale_by_norm(processed, whole)
    return change.transpose(-3, -2)


def _fold_norm(
    processed: ProcessedWeights, z: Float[Tensor, "... layer head d_head"]
) -> tuple[Float[Tensor, "... layer head d_head"], Float[Tensor, "layer head d_head d_model"]]:
    """Return z and W_O such that a head's product of both is what it adds to the residual stream."""
    z = _cut_heads(processed, z)
    if processed.norm_w is None:
        return z, processed.W_O
    whole = torch.einsum("...lhd,lhdm->...lm", z, processed.W_O) + processed.b_O
    return z * _measure_norm(processed, whole)[..., None], processed.W_O * processed.norm_w[:, None, None]


def _cut_heads(processed: ProcessedWeights, z: Float[Tensor, "... layer head d_head"]) -> Float[Tensor, "..."]:
    """Cut z into W_O's heads; TransformerLens may cut otherwise (DeepSeek, whose values are narrower than its keys)."""
    return z.flatten(-2).unflatten(-1, processed.W_O.shape[1:3])


def _scale_by_norm(
    processed: ProcessedWeights, whole: Float[Tensor, "... layer d_model"]
) -> Float[Tensor, "... layer d_model"]:
    """Return what the norm behind the attention multiplies its input by, from that input."""
    assert processed.norm_w is not None
    return processed.norm_w * _measure_norm(processed, whole)


def _measure_norm(
    processed: ProcessedWeights, whole: Float[Tensor, "... layer d_model"]
) -> Float[Tensor, "... layer 1"]:
    """Return what the norm behind the attention multiplies its input by, but for the gain."""
    assert processed.norm_eps is not None
    return (whole.square().mean(dim=-1, keepdim=True) + processed.norm_eps).rsqrt()


def read_in_vocabulary(
    processed: ProcessedWeights, vectors: Float[Tensor, "... d_model"]
) -> Float[Tensor, "... d_vocab"]:
    """Return the logits of residual-stream vectors: W_U and b_U, without the final norm (paper, section 3.2)."""
    # One product of two matrices: with more dimensions, torch would multiply slice by slice.
    logits = torch.addmm(processed.b_U, vectors.flatten(0, -2), processed.W_U)
    return logits.unflatten(0, vectors.shape[:-1])


def read_each_head(
    processed: ProcessedWeights, z: Float[Tensor, "text layer head d_head"]
) -> Iterator[tuple[int, int, Float[Tensor, "text d_vocab"]]]:
    """Yield layer, head and logits of one head after another: `read_in_vocabulary` of `compute_head_results`.

    With many texts, W_O and W_U are multiplied first: that is less work, as a head is narrower than the stream.
    """
    z, W_O = _fold_norm(processed, z)
    n_texts, n_layers, n_heads, d_head = z.shape
    d_model = W_O.shape[-1]
    are_many = n_texts * (d_model - d_head) > d_head * d_model
    step = max(1, READ_AT_ONCE // (d_head if are_many else n_texts))
    for layer, start in product(range(n_layers), range(0, n_heads, step)):
        here, weights = z[:, layer, start : start + step].transpose(0, 1), W_O[layer, start : start + step]
        each: Iterable[Tensor]
        if are_many:
            unembedding = (weights.flatten(0, 1) @ processed.W_U).unflatten(0, weights.shape[:2])
            each = (torch.addmm(processed.b_U, *one) for one in zip(here, unembedding, strict=True))
        else:
            each = read_in_vocabulary(processed, here @ weights)
        yield from ((layer, head, logits) for head, logits in enumerate(each, start))
