"""Forward passes that start at any block and inject a memory there (paper, section 3.3).

Hugging Face's own forward runs, whatever the architecture; the blocks below the injected layer are skipped by
handing on the residual stream that the clean pass left, and a hook adds the memory to one attention output.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from .models import Components


@dataclass(frozen=True)
class CleanPass:
    """What one pass without injection leaves behind for a batch of prompts.

    `resid_pre` is the residual stream before every block, `attn_out` every attention output at the last
    position, `logits` those of the last position.
    """

    resid_pre: Float[Tensor, "layer batch pos d_model"]
    attn_out: Float[Tensor, "layer batch d_model"]
    logits: Float[Tensor, "batch vocab"]


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _replace_first(output: Tensor | tuple[Tensor, ...], new: Tensor) -> Tensor | tuple[Tensor, ...]:
    return (new, *output[1:]) if isinstance(output, tuple) else new


class InjectionEngine:
    """Clean and injected forward passes of one causal language model.

    Prompts of different lengths are padded on the right and need no mask, because in a causal model no
    position sees a later one. Every method leaves the model as it found it, exceptions included.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.components = Components(model)
        self.device = model.device
        self._block_returns_tuple: list[bool] = []

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.components.blocks)

    @torch.inference_mode()
    def clean(self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]) -> CleanPass:
        """Run the prompts without injection, keeping what later passes can start from."""
        resid_pre: list[Tensor] = []
        attn_out: list[Tensor] = []
        returns_tuple: list[bool] = []
        with ExitStack() as stack:
            for block, attention in zip(self.components.blocks, self.components.attention, strict=True):
                hook = block.register_forward_pre_hook(lambda _, args: resid_pre.append(args[0]))
                stack.callback(hook.remove)
                hook = block.register_forward_hook(lambda _, __, out: returns_tuple.append(isinstance(out, tuple)))
                stack.callback(hook.remove)
                hook = attention.register_forward_hook(
                    lambda _, __, out: attn_out.append(_at_last(_first(out), lengths))
                )
                stack.callback(hook.remove)
            logits = self._last_logits(tokens, lengths)
        self._block_returns_tuple = returns_tuple
        return CleanPass(torch.stack(resid_pre), torch.stack(attn_out), logits)

    @torch.inference_mode()
    def injected(
        self,
        tokens: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"],
        layer: int,
        resid_pre: Float[Tensor, "batch pos d_model"],
        vectors: Float[Tensor, "batch d_model"],
    ) -> Float[Tensor, "batch vocab"]:
        """Logits at the last position after `attn_out[layer] += vectors` at every position, BOS included.

        `resid_pre` is the clean residual stream before block `layer` (`CleanPass.resid_pre[layer]`, a row for
        each row of `tokens`), so blocks before `layer` do not run.
        """
        with self._resume(layer, resid_pre), self._add_to_attention(layer, vectors):
            return self._last_logits(tokens, lengths)

    def _last_logits(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """The model's logits at each row's last position; no other position is unembedded."""
        select = self.components.unembed.register_forward_pre_hook(
            lambda _, args: (_at_last(args[0], lengths)[:, None], *args[1:])
        )
        try:
            return self.model(input_ids=tokens, use_cache=False).logits[:, 0].float()
        finally:
            select.remove()

    @contextmanager
    def _resume(self, layer: int, resid_pre: Float[Tensor, "batch pos d_model"]) -> Iterator[None]:
        """Skip the blocks before `layer`: they hand on `resid_pre` instead of computing."""
        skipped = self.components.blocks[:layer]
        if layer and not self._block_returns_tuple:
            raise RuntimeError("run clean() before resuming at a later block")

        def hand_on(returns_tuple: bool) -> nn.Module:
            output = (resid_pre, None) if returns_tuple else resid_pre
            return lambda *args, **kwargs: output  # type: ignore[return-value]

        try:
            for index, block in enumerate(skipped):
                block.forward = hand_on(self._block_returns_tuple[index])
            yield
        finally:
            for block in skipped:
                block.__dict__.pop("forward", None)

    @contextmanager
    def _add_to_attention(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> Iterator[None]:
        hook = self.components.attention[layer].register_forward_hook(
            lambda _, __, out: _replace_first(out, _first(out) + vectors[:, None])
        )
        try:
            yield
        finally:
            hook.remove()


def _at_last(
    values: Float[Tensor, "batch pos d_model"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch d_model"]:
    return values[torch.arange(len(values), device=values.device), lengths - 1]
