"""The engine for any model of TransformerLens: injections through its hooks, with full passes (paper, section 3.3).

The `TransformerBridge` may be in compatibility mode or not, and in any precision.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from memory_injections.injection.engine import CleanPass, Reads, place_vectors
from memory_injections.injection.validation import Positions, check_head, check_layer, select_positions

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@contextmanager
def injecting(
    bridge: "TransformerBridge",
    vectors: Float[Tensor, "#batch #pos d_model"] | Float[Tensor, " d_model"],
    layer: int,
    positions: Positions | None = None,
    head: int | None = None,
) -> Iterator[None]:
    """Within the block, add `vectors` to the attention output of a layer in every forward pass of the model.

    One vector goes to all rows and positions of a batch; several go to one row or one position each. They are added at
    every position, BOS included, as in the paper, or only at `positions`. With `head`, they are added to that head's
    `hook_result` instead of `hook_attn_out`. The effect is the same, because an attention output is the sum of its
    heads' results; where it is not, because of a norm behind it, or an architecture does not show them, `hook_attn_out`
    is used.

    The hook is removed when the block ends, even by an exception; other hooks stay. Raises `StudyError` for a layer,
    head or position that the model or the prompt does not have.
    """
    check_layer(layer, bridge.cfg.n_layers)
    if head is not None:
        check_head(head, bridge.cfg.n_heads)

    def add(out: Float[Tensor, "batch pos *head d_model"], hook: Any) -> Float[Tensor, "batch pos *head d_model"]:
        out = out.clone()
        target = out if out.ndim == 3 else out[:, :, head]
        selected = select_positions(positions, out.shape[1])
        target[:, selected] += vectors.to(out).expand(target.shape)[:, selected]
        return out

    with ExitStack() as stack:
        by_head = head is not None and stack.enter_context(_show_head_results(bridge, layer))
        name = f"blocks.{layer}.{'attn.hook_result' if by_head else 'hook_attn_out'}"
        stack.enter_context(bridge.hooks(fwd_hooks=[(name, add)]))
        yield


@contextmanager
def _show_head_results(bridge: "TransformerBridge", layer: int) -> Iterator[bool]:
    """Within the block, have the model compute each head's result; yield whether the layer can."""
    block = bridge.blocks[layer]
    offered = bool(getattr(block.attn, "supports_attn_result", False)) and "ln1_post" not in block.submodules
    before = bool(bridge.cfg.use_attn_result)
    if offered:
        bridge.set_use_attn_result(True)
    try:
        yield offered
    finally:
        if offered:
            bridge.set_use_attn_result(before)


class HookedEngine:
    """Clean and injected forward passes of a `TransformerBridge`, every block computed (an `engine.InjectionEngine`).

    Vectors are added at `positions` and through `head`, as `injecting` describes.
    """

    def __init__(
        self, bridge: "TransformerBridge", positions: Positions | None = None, head: int | None = None
    ) -> None:
        self.bridge, self.positions, self.head = bridge, positions, head
        self.n_layers: int = bridge.cfg.n_layers
        self.n_ctx: int | None = bridge.cfg.n_ctx
        self.device: torch.device = bridge.W_E.device
        self.dtype: torch.dtype = bridge.W_E.dtype

    @torch.no_grad()
    def clean(
        self,
        tokens: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"],
        layers: Sequence[int] | None = None,
        n_read: Sequence[int] | None = None,
    ) -> CleanPass:
        """Run prompts without injection, and record what `layers` (by default all) read, and their attention adds.

        With `n_read`, so many of each prompt's last positions are read (see `engine.InjectionEngine`).
        """
        kept: dict[str, dict[int, Tensor]] = {"hook_resid_pre": {}, "hook_attn_out": {}}

        def keep(hook: str, layer: int) -> Callable[..., None]:
            def hook_function(values: Float[Tensor, "batch pos d_model"], hook: Any, into: str = hook) -> None:
                kept[into][layer] = values

            return hook_function

        recorded = range(self.n_layers) if layers is None else layers
        hooks = [(f"blocks.{layer}.{hook}", keep(hook, layer)) for layer in recorded for hook in kept]
        with self.bridge.hooks(fwd_hooks=hooks):
            logits = self._run_bridge(tokens, Reads.of_last(lengths, n_read))
        return CleanPass(tokens, lengths, kept["hook_resid_pre"], kept["hook_attn_out"], logits, n_read)

    @torch.no_grad()
    def injected(
        self,
        clean: CleanPass,
        layers: Sequence[int],
        prompts: Int[Tensor, " cell"],
        vectors: Float[Tensor, "cell d_model"],
        where: Bool[Tensor, "cell pos"] | None = None,
    ) -> Float[Tensor, "read vocab"]:
        """Return each cell's logits where they are read (see `engine.InjectionEngine`), from one pass for all cells.

        The engine's own `positions` hold for every cell; `where` restricts them further.
        """
        added = place_vectors(vectors, where)
        cell_layers = torch.tensor(layers, device=vectors.device)[:, None, None]
        with ExitStack() as stack:
            for layer in sorted(set(layers)):
                in_layer = torch.where(cell_layers == layer, added, 0)
                stack.enter_context(injecting(self.bridge, in_layer, layer, self.positions, self.head))
            n_read = clean.n_read and [clean.n_read[prompt] for prompt in prompts.tolist()]
            return self._run_bridge(clean.tokens[prompts], Reads.of_last(clean.lengths[prompts], n_read))

    def _run_bridge(self, tokens: Int[Tensor, "batch pos"], reads: Reads) -> Float[Tensor, "read vocab"]:
        """Return the model's logits at the positions that are read, in float32."""

        def select(hidden: Float[Tensor, "batch pos d_model"], hook: Any) -> Float[Tensor, "read 1 d_model"]:
            return reads.select(hidden)[:, None]

        # The logits of every position would take more memory than everything else.
        with self.bridge.hooks(fwd_hooks=[("unembed.hook_in", select)]):
            return self.bridge(tokens)[:, 0].float().to(self.device)
