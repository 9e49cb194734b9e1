"""Passes of the last position, traced residual streams and frozen norms agree with full passes, in every family."""

from functools import partial

import pytest
import torch
from architectures import OTHERS, QUICK, Family
from full_pass import at_the_end, run_fully
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.residuals import measure_carry, read_out, trace_injections
from memory_injections.mechanisms.side_effects import measure_surprisal
from memory_injections.models.tokenisation import pad
from slow_path import CPU
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
assert_close = partial(torch.testing.assert_close, rtol=0, atol=2e-4)
each_family = pytest.mark.parametrize(
    "family", [*QUICK.values(), *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS.values())],
    ids=[*QUICK, *OTHERS],
)  # fmt: skip


@each_family
def test_causes_equal_full_passes(family: Family) -> None:
    engine = SkippingEngine(family.build())
    draws = torch.Generator().manual_seed(1)
    rows = torch.randint(1, 400, (3, 9), generator=draws)
    vectors = torch.randn(engine.n_layers, len(rows), 32, generator=draws)
    check_last_position(engine, rows, vectors)
    check_traces(engine, rows, vectors[1])
    check_text(engine, rows[0], vectors[1])
    check_frozen_norm(engine, draws)


def test_a_vector_is_carried_to_the_end_as_the_blocks_scale_the_stream() -> None:
    model = {**QUICK, **OTHERS}["Gemma 4"].build()
    engine = SkippingEngine(model)
    for number, block in enumerate(engine.components.blocks):
        block.get_buffer("layer_scalar").fill_(0.5 + 0.4 * number)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):  # the blocks write nothing
            weight.data.zero_()
    tokens = torch.randint(1, 400, (1, 7), generator=torch.Generator().manual_seed(1))
    vector = torch.randn(1, 32, generator=torch.Generator().manual_seed(2))
    clean, prompts = engine.clean(tokens, torch.tensor([7])), torch.tensor([0])
    for layer in range(engine.n_layers):
        ends = [trace_injections(engine, clean, layer, prompts, added)[0][-1] for added in (vector, 0 * vector)]
        assert_close(ends[0] - ends[1], vector * float(measure_carry(engine)[layer]))


def check_last_position(engine: SkippingEngine, rows: Tensor, vectors: Tensor) -> None:
    clean = engine.clean_last(rows)
    layers = [layer for layer in range(engine.n_layers) for _ in rows]
    prompts = torch.arange(len(layers)) % len(rows)
    is_last = torch.arange(clean.tokens.shape[1]) == clean.lengths[prompts, None] - 1
    found = engine.injected(clean, layers, prompts, vectors.flatten(0, 1), is_last).log_softmax(dim=1)
    before = clean.logits.log_softmax(dim=1)
    for cell, (layer, row) in enumerate(zip(layers, prompts.tolist(), strict=True)):
        slow, _ = run_fully(engine, rows[row].tolist(), layer, at_the_end(vectors[layer, row], rows.shape[1]))
        assert_close(found[cell], slow[-1])
        assert_close(before[row], run_fully(engine, rows[row].tolist())[0][-1])
    assert (found - before[prompts]).abs().max() > 0.1


def check_traces(engine: SkippingEngine, rows: Tensor, vectors: Tensor) -> None:
    tokens, lengths = pad([row[: len(row) - index].tolist() for index, row in enumerate(rows)], CPU[0])
    prompts = torch.tensor([2, 0, 1])
    traced, logits = trace_injections(engine, engine.clean(tokens, lengths, [1]), 1, prompts, vectors)
    for cell, row in enumerate(prompts.tolist()):
        slow, outputs = run_fully(engine, tokens[row, : lengths[row]].tolist(), 1, vectors[cell])
        assert_close(traced[:, cell], torch.stack([out[-1] for out in outputs[1:]]))
        assert_close(logits[cell].log_softmax(dim=0), slow[-1])
    assert_close(read_out(engine, traced[-1]), logits)


def check_text(engine: SkippingEngine, row: Tensor, vectors: Tensor) -> None:
    windows = [row.tolist(), row[:6].tolist()]
    found = measure_surprisal(engine, windows, 1, vectors)
    for vector, surprisal in zip(vectors, found, strict=True):
        slow = [run_fully(engine, window, 1, vector)[0][range(len(window) - 1), window[1:]] for window in windows]
        assert_close(surprisal, -torch.cat(slow).mean())


def check_frozen_norm(engine: SkippingEngine, draws: torch.Generator) -> None:
    # No value is near zero: dividing by them gives what the norm multiplies each by.
    resid = (1 + torch.rand(4, 32, generator=draws)) * torch.randn(4, 32, generator=draws).sign()
    added = torch.randn(4, 32, generator=draws)
    norm, whole = engine.components.final_norm, resid + added
    if norm is None:
        assert_close(read_out(engine, resid, added), read_out(engine, whole))
        return
    if torch.allclose(norm(resid[:, None] + 1), norm(resid[:, None]), atol=1e-3):
        resid, whole = (values - values.mean(dim=1, keepdim=True) for values in (resid, whole))
    bias = norm(torch.zeros(1, 1, 32))[0]
    frozen = bias + (norm(resid[:, None])[:, 0] - bias) / resid * whole
    logits = read_out(engine, resid, added)
    handle = norm.register_forward_hook(lambda *_: frozen[:, None])
    try:
        assert_close(logits, read_out(engine, resid), atol=1e-3)
    finally:
        handle.remove()
