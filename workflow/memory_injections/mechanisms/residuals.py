"""Reading the residual stream: what the model's own end makes of it, and what it is after an injection.

The end of a model is its final norm, its unembedding, and whatever it does with the logits.
"""

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from memory_injections.injection.engine import CleanPass, select_last
from memory_injections.injection.skipping_engine import SkippingEngine, get_first, replace_forward


@torch.inference_mode()
def read_out(
    engine: SkippingEngine, resid: Float[Tensor, "row d_model"], added: Float[Tensor, "row d_model"] | None = None
) -> Float[Tensor, "row vocab"]:
    """Return the logits, in float32, that the model's end makes of residual streams.

    With `added`, these vectors are added under a frozen norm: the final norm divides by what it would divide `resid`
    alone by.
    """
    parts, stack = engine.components, ExitStack()
    resid = resid.to(engine.device, engine.dtype)
    with stack:
        for block in parts.blocks[:-1]:
            stack.enter_context(replace_forward(block, engine.build_skip(block, None)))
        last, norm = parts.blocks[-1], parts.final_norm
        if added is not None and norm is not None:
            frozen = _freeze_norm(norm, resid, added.to(resid))
            stack.enter_context(replace_forward(norm, lambda *_, **__: frozen[:, None]))
        elif added is not None:
            resid = resid + added.to(resid)
        stack.enter_context(replace_forward(last, engine.build_skip(last, resid[:, None])))
        return engine.compute_logits_of_rows(len(resid))


def _freeze_norm(
    norm: nn.Module, resid: Float[Tensor, "row d_model"], added: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row d_model"]:
    """Return the norm of `resid` plus `added`, divided by what the norm divides `resid` alone by.

    A norm divides vectors of one length by one number, whatever its kind: so the vectors are given the length of the
    residual stream before the norm, and their own one behind it.
    """
    bias = norm(torch.zeros_like(resid[:1, None]))
    resid, added = resid[:, None].to(bias.device), added[:, None].to(bias.device)
    normed = norm(resid)
    moved = norm(resid + resid.std()) - normed
    ignores_mean = bool(moved.float().norm() < 0.1 * normed.float().norm())

    def measure(vectors: Tensor) -> Tensor:
        centred = vectors - vectors.mean(dim=-1, keepdim=True) if ignores_mean else vectors
        return centred.float().norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)

    scale = (measure(added) / measure(resid)).to(resid)
    return (normed + (norm(added / scale) - bias) * scale)[:, 0]


def measure_carry(engine: SkippingEngine) -> Float[np.ndarray, " layer"]:
    """Return by what each layer's attention output is multiplied on its way to the model's end, apart from all blocks.

    Gemma 4 multiplies the residual stream by a number behind every block; others leave it as it is.
    """
    scales = [float(getattr(block, "layer_scalar", 1.0)) for block in engine.components.blocks]
    return np.cumprod(scales[::-1])[::-1]


@torch.inference_mode()
def trace_injections(
    engine: SkippingEngine,
    clean: CleanPass,
    layer: int,
    prompts: Int[Tensor, " cell"],
    vectors: Float[Tensor, "cell d_model"],
) -> tuple[Float[Tensor, "block cell d_model"], Float[Tensor, "cell vocab"]]:
    """Inject vectors into one layer; return the residual stream after every block from there on, and the logits.

    Both are those of the prompts' last positions.
    """
    kept: list[Tensor] = []
    lengths = clean.lengths[prompts]

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        # Rows that fill up a small batch come before the cells'.
        kept.append(select_last(get_first(output)[-len(prompts) :], lengths).to(engine.device))

    with ExitStack() as stack:
        for block in engine.components.blocks[layer:]:
            stack.callback(block.register_forward_hook(keep).remove)
        logits = engine.injected(clean, [layer] * len(prompts), prompts, vectors)
    return torch.stack(kept), logits
