"""Continuing a prompt without and with a memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.injection.validation import check_overflow
from memory_injections.interactive.injectable_model import InjectableModel


@dataclass(frozen=True)
class Continuation:
    """The text that follows a prompt without the memory (`obscure`) and with it (`injected`)."""

    obscure: str
    injected: str


@torch.no_grad()
def continue_prompt(
    model: InjectableModel,
    prompt: Sequence[int],
    vector: Float[Tensor, " d_model"],
    layer: int,
    magnitude: float,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> Continuation:
    """Continue a prompt's tokens without and with the memory, as two rows of one batch.

    `magnitude` times `vector` is added to the layer's attention output in the second row, at every position, those of
    new tokens included. Each continuation ends before its first EOS token, or after `max_new_tokens`. Raises
    `OverflowingInjectionError` if the injection overflows the model's arithmetic.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens, cache = torch.tensor([prompt, prompt], device=vector.device), None
    eos = model.tokenizer.eos_token_id
    new: list[list[int]] = [[], []]
    with model.injecting(layer, torch.stack([torch.zeros_like(vector), magnitude * vector])):
        for _ in range(max_new_tokens):
            logits, cache = model.step(tokens, cache)
            check_overflow(logits, layer, magnitude)
            tokens = _draw_tokens(logits.cpu(), temperature, generator)[:, None].to(tokens.device)
            for row, token in zip(new, tokens[:, 0].tolist(), strict=True):
                row.append(token)
            if all(eos in row for row in new):
                break
    ends = (row.index(eos) if eos in row else len(row) for row in new)
    return Continuation(*(str(model.tokenizer.decode(row[:end])) for row, end in zip(new, ends, strict=True)))


def _draw_tokens(
    logits: Float[Tensor, "batch vocab"], temperature: float, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Draw each row's next token, all rows with the same noise; at temperature 0 take the most probable one."""
    if temperature > 0:
        gumbel = -torch.empty(logits.shape[1]).exponential_(generator=generator).log()
        logits = logits / temperature + gumbel
    return logits.argmax(dim=1)
