"""One full forward pass of one prompt through Hugging Face's model, with plain hooks: slow, and independent."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from memory_injections.injection.skipping_engine import SkippingEngine, get_first, set_first
from torch import Tensor, nn

ZERO = torch.zeros(())


def run_fully(
    engine: SkippingEngine, ids: Sequence[int], layer: int | None = None, added: Tensor = ZERO
) -> tuple[Tensor, list[Tensor]]:
    """Return the log-probabilities [pos, vocab] and the blocks' outputs [pos, d_model] of a prompt.

    `added`, [d_model] or [pos, d_model], joins what the attention of `layer` adds to the residual stream.
    """
    parts, outputs = engine.components, []

    def add(_: nn.Module, __: object, output: object) -> object:
        return set_first(output, get_first(output) + added / parts.attn_scale)

    with ExitStack() as stack, torch.inference_mode():
        if layer is not None:
            stack.callback(parts.attn_out[layer].register_forward_hook(add).remove)
        for block in parts.blocks:
            hook = block.register_forward_hook(lambda _, __, output: outputs.append(get_first(output)[0]))
            stack.callback(hook.remove)
        logits = engine.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    return logits.float().log_softmax(dim=-1), outputs


def at_the_end(vector: Tensor, n_positions: int) -> Tensor:
    """A vector at the last of some positions, and zeros before."""
    return torch.cat([vector.new_zeros(n_positions - 1, len(vector)), vector[None]])
