"""Injecting into a model that TransformerLens has loaded, through its hooks (paper, section 3.3).

The `TransformerBridge` may be in compatibility mode or not, and in any precision. Memories come from processed
weights all the same, which a copy of the model is given where its own are as they were.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from memory_injections.injection.engine import CleanPass
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.injection.validation import Positions, check_index, selected


@contextmanager
def injecting(
    bridge: TransformerBridge,
    vectors: Float[Tensor, "#batch d_model"] | Float[Tensor, " d_model"],
    layer: int,
    positions: Positions | None = None,
    head: int | None = None,
) -> Iterator[None]:
    """Within the block, every pass of the model has `vectors` added to the attention output of a layer.

    They are added at every position, BOS included, as the paper does, or at `positions` only; to `hook_attn_out`, or
    with `head` to that head's `hook_result`, which is the same, because an attention's output is the sum of its
    heads' results: where an architecture shows no such results, `head` takes `hook_attn_out`, too. One vector goes
    to all rows of a batch, or one to each. When the block ends, exceptions included, the hook is gone, and hooks of
    others are as they were. Raises `StudyError` for a layer, head or position that is not there.
    """
    check_index("layer", layer, bridge.cfg.n_layers)
    if head is not None:
        check_index("head", head, bridge.cfg.n_heads)

    def add(out: Float[Tensor, "batch pos *head d_model"], hook: Any) -> Float[Tensor, "batch pos *head d_model"]:
        out = out.clone()
        of_head = out if out.ndim == 3 else out[:, :, head]
        of_head[:, selected(positions, out.shape[1])] += vectors.to(out)[..., None, :]
        return out

    with ExitStack() as stack:
        by_head = head is not None and stack.enter_context(_head_results(bridge, layer))
        name = f"blocks.{layer}.{'attn.hook_result' if by_head else 'hook_attn_out'}"
        stack.enter_context(bridge.hooks(fwd_hooks=[(name, add)]))
        yield


@contextmanager
def _head_results(bridge: TransformerBridge, layer: int) -> Iterator[bool]:
    """Have the model compute its heads' results one by one for a while; yields whether it can."""
    offered = bool(getattr(bridge.blocks[layer].attn, "supports_attn_result", False))
    before = bool(bridge.cfg.use_attn_result)
    if offered:
        bridge.set_use_attn_result(True)
    try:
        yield offered
    finally:
        if offered:
            bridge.set_use_attn_result(before)


class HookedEngine(InjectionEngine):
    """Does what `InjectionEngine` does through hooks, with full passes: slower, for any model of TransformerLens.

    `positions` and `head` are those of `injecting`.
    """

    def __init__(self, bridge: TransformerBridge, positions: Positions | None = None, head: int | None = None) -> None:
        self.bridge, self.positions, self.head = bridge, positions, head
        self.model = cast(PreTrainedModel, bridge.original_model)
        self.device = bridge.W_E.device

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.bridge.cfg.n_layers

    @torch.no_grad()
    def clean(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"], layers: Sequence[int] | None = None
    ) -> CleanPass:
        """Run the prompts without injection, keeping the attention outputs of `layers` (all by default)."""
        attn_out: dict[int, Tensor] = {}

        def keeping(layer: int) -> Callable[..., None]:
            def keep(out: Float[Tensor, "batch pos d_model"], hook: Any) -> None:
                attn_out[layer] = out

            return keep

        kept = range(self.n_layers) if layers is None else layers
        hooks = [(f"blocks.{layer}.hook_attn_out", keeping(layer)) for layer in kept]
        with self.bridge.hooks(fwd_hooks=hooks):
            logits = self._last_logits(tokens, lengths)
        return CleanPass(tokens, lengths, {}, attn_out, logits)

    @torch.no_grad()
    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
    ) -> Float[Tensor, "cell vocab"]:
        """Logits at the last position, in float32, after an injection a cell: one pass for all of them."""
        of_cell = torch.tensor(layers, device=vectors.device)[:, None]
        with ExitStack() as stack:
            for layer in sorted(set(layers)):
                own = torch.where(of_cell == layer, vectors, 0)
                stack.enter_context(injecting(self.bridge, own, layer, self.positions, self.head))
            return self._last_logits(clean.tokens[prompts], clean.lengths[prompts])

    def _last_logits(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        def select(hidden: Float[Tensor, "batch pos d_model"], hook: Any) -> Float[Tensor, "batch 1 d_model"]:
            return hidden[torch.arange(len(hidden)), lengths.to(hidden.device) - 1][:, None]

        # Of every position, the logits would take more memory than all else.
        with self.bridge.hooks(fwd_hooks=[("unembed.hook_in", select)]):
            return self.bridge(tokens)[:, 0].float().to(self.device)
