"""The fast engine agrees with full passes of Hugging Face and of TransformerLens on a tiny model of every family."""

import pytest
import torch
from architectures import OTHERS, QUICK, Family
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.skipping_engine import SkippingEngine, get_first, set_first
from memory_injections.models.tokenisation import pad
from slow_path import CPU
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel, PreTrainedTokenizerFast

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = (2, 5, 6, 11)
each_family = pytest.mark.parametrize(
    "family", [*QUICK.values(), *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS.values())],
    ids=[*QUICK, *OTHERS],
)  # fmt: skip


def draw_cells(engine: SkippingEngine) -> tuple[list[list[int]], list[int], Tensor, Tensor, Tensor]:
    """Prompts of several lengths, and a cell of each in every layer: layers, prompts, vectors and some positions."""
    draws = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, 400, (length,), generator=draws).tolist() for length in LENGTHS]
    layers = [layer for layer in range(engine.n_layers) for _ in rows]
    vectors = torch.randn(len(layers), 32, generator=draws)
    where = torch.rand(len(layers), max(LENGTHS), generator=draws) < 0.5
    return rows, layers, torch.arange(len(layers)) % len(rows), vectors, where


def run_alone(model: PreTrainedModel, ids: list[int], hooked: nn.Module | None, vector: Tensor) -> Tensor:
    """Log-probabilities of a full pass of one prompt, with a vector, at all positions or of each, added by a hook."""

    def add(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return set_first(output, get_first(output) + vector)

    handle = hooked.register_forward_hook(add) if hooked is not None else None
    try:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(dim=-1)
    finally:
        if handle is not None:
            handle.remove()


@each_family
def test_fast_engine_equals_full_passes(family: Family, tokenizer: PreTrainedTokenizerFast) -> None:
    model = family.build()
    engine = SkippingEngine(model)
    rows, layers, prompts, vectors, where = draw_cells(engine)
    clean = engine.clean(*pad(rows, CPU[0]))
    injected = engine.injected(clean, layers, prompts, vectors).log_softmax(dim=1)
    somewhere = engine.injected(clean, layers, prompts, vectors, where).log_softmax(dim=1)
    for row, ids in enumerate(rows):
        alone = run_alone(model, ids, None, vectors[0])
        torch.testing.assert_close(clean.logits[row].log_softmax(dim=0), alone, rtol=0, atol=2e-4)
    parts = engine.components
    for cell, (layer, row) in enumerate(zip(layers, prompts.tolist(), strict=True)):
        everywhere = vectors[cell].repeat(len(rows[row]), 1) / parts.attn_scale
        alone = run_alone(model, rows[row], parts.attn_out[layer], everywhere)
        torch.testing.assert_close(injected[cell], alone, rtol=0, atol=2e-4)
        alone = run_alone(model, rows[row], parts.attn_out[layer], everywhere * where[cell, : len(rows[row]), None])
        torch.testing.assert_close(somewhere[cell], alone, rtol=0, atol=2e-4)
    assert (injected - clean.logits[prompts].log_softmax(dim=1)).abs().max() > 0.1
    assert (injected - somewhere).abs().max() > 0.1
    # TransformerLens' hooks say what attention adds to the residual stream. A bridge changes the model: it comes last.
    hooked = HookedEngine(boot_bridge(model, tokenizer))
    theirs = hooked.clean(*pad(rows, CPU[0]))
    torch.testing.assert_close(clean.logits.log_softmax(1), theirs.logits.log_softmax(1), rtol=0, atol=2e-4)
    torch.testing.assert_close(clean.stack_last_attn_out(), theirs.stack_last_attn_out(), rtol=1e-4, atol=1e-4)
    logits = hooked.injected(theirs, layers, prompts, vectors)
    torch.testing.assert_close(injected, logits.log_softmax(dim=1), rtol=0, atol=2e-4)
    logits = hooked.injected(theirs, layers, prompts, vectors, where)
    torch.testing.assert_close(somewhere, logits.log_softmax(dim=1), rtol=0, atol=2e-4)


def boot_bridge(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> TransformerBridge:
    model.config.architectures = [type(model).__name__]
    return TransformerBridge.boot_transformers("tiny", hf_model=model, tokenizer=tokenizer, device="cpu").eval()
