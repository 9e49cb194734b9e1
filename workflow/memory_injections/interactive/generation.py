"""How a prompt goes on without and with a memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.injection.validation import check_overflow
from memory_injections.interactive.model_forms import ModelForms


@dataclass(frozen=True)
class Continuation:
    """The text that follows a prompt, without the memory (`obscure`) and with it (`injected`)."""

    obscure: str
    injected: str


@torch.no_grad()
def continued(
    model: ModelForms,
    prompt: Sequence[int],
    vector: Float[Tensor, " d_model"],
    layer: int,
    magnitude: float,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> Continuation:
    """Both continuations of a prompt's tokens, side by side in one batch, the vector in one of its rows.

    Raises `StudyError` where the injection overflows.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens, cache = torch.tensor([prompt, prompt], device=vector.device), None
    eos = model.tokenizer.eos_token_id
    said: list[list[int]] = [[], []]
    with model.injecting(layer, torch.stack([torch.zeros_like(vector), magnitude * vector])):
        for _ in range(max_new_tokens):
            logits, cache = model.step(tokens, cache)
            check_overflow(logits, layer, magnitude)
            tokens = _drawn(logits.cpu(), temperature, generator)[:, None].to(tokens.device)
            for row, token in zip(said, tokens[:, 0].tolist(), strict=True):
                row.append(token)
            if all(eos in row for row in said):
                break
    ends = (row.index(eos) if eos in row else len(row) for row in said)
    return Continuation(*(str(model.tokenizer.decode(row[:end])) for row, end in zip(said, ends, strict=True)))


def _drawn(
    logits: Float[Tensor, "batch d_vocab"], temperature: float, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """The next token of each row: at temperature 0 the most probable, or else drawn, with one noise for all rows."""
    if temperature > 0:
        gumbel = -torch.empty(logits.shape[1]).exponential_(generator=generator).log()
        logits = logits / temperature + gumbel
    return logits.argmax(dim=1)
