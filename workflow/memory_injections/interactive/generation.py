"""Continuing a prompt without and with injections."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.injection.validation import check_overflow
from memory_injections.interactive.injectable_model import InjectableModel


@torch.no_grad()
def continue_prompt(
    model: InjectableModel,
    prompt: Sequence[int],
    vectors: Float[Tensor, "injection d_model"],
    layer: int,
    magnitude: float,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[str]:
    """Continue a prompt's tokens without an injection and with each vector, as rows of one batch.

    `magnitude` times the vector is added to the layer's attention output at every position, those of new tokens
    included. Returns the continuation without an injection first. Each ends before its first EOS token, or after
    `max_new_tokens`. Raises `OverflowingInjectionError` if an injection overflows the model's arithmetic.
    """
    added = torch.cat([torch.zeros_like(vectors[:1]), magnitude * vectors])
    generator = torch.Generator().manual_seed(seed)
    tokens, cache = torch.tensor([prompt] * len(added), device=vectors.device), None
    eos = model.tokenizer.eos_token_id
    new: list[list[int]] = [[] for _ in added]
    with model.injecting(layer, added):
        for _ in range(max_new_tokens):
            logits, cache = model.step(tokens, cache)
            check_overflow(logits, layer, magnitude)
            tokens = _draw_tokens(logits.cpu(), temperature, generator)[:, None].to(tokens.device)
            for row, token in zip(new, tokens[:, 0].tolist(), strict=True):
                row.append(token)
            if all(eos in row for row in new):
                break
    ends = (row.index(eos) if eos in row else len(row) for row in new)
    return [str(model.tokenizer.decode(row[:end])) for row, end in zip(new, ends, strict=True)]


def _draw_tokens(
    logits: Float[Tensor, "batch vocab"], temperature: float, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Draw each row's next token, all rows with the same noise; at temperature 0 take the most probable one."""
    if temperature > 0:
        gumbel = -torch.empty(logits.shape[1]).exponential_(generator=generator).log()
        logits = logits / temperature + gumbel
    return logits.argmax(dim=1)
