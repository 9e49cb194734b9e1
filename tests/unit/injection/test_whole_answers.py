"""Whole answers are scored as token after token would be, by passes of the bare model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.models.tokenisation import Prompt, tokenise_prompt
from memory_injections.terms import AnswerPositions
from slow_path import Model, list_cells
from torch import Tensor, nn

# Where a bare model has the module whose first output its attention adds to the residual stream.
ATTENTION: dict[str, Callable[[Any, int], nn.Module]] = {
    "gpt2": lambda model, layer: model.transformer.h[layer].attn,
    "llama": lambda model, layer: model.model.layers[layer].self_attn,
    "gpt-neox": lambda model, layer: model.gpt_neox.layers[layer].attention,
}


@pytest.fixture(scope="module", params=ATTENTION)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tiny_models: dict[str, Path]) -> Model:
    return Model(tiny_models[family])


@pytest.fixture(scope="module")
def prompts(pairs: pd.DataFrame, model: Model) -> dict[str, Prompt]:
    return {
        str(pair["prompt_id"]): Prompt.tokenise(model.tokenizer, pair["obscure_prompt"], f"{pair['answer']} {extra}")
        for pair, extra in zip(pairs.to_dict("records"), ("in 1929", "", "and the sea") * len(pairs), strict=False)
    }


def sum_by_hand(model: Model, attention: nn.Module, prompt: Prompt, vector: Tensor, stops: AnswerPositions) -> float:
    """Add up the log-probabilities of an answer's tokens, a pass of the bare model for each."""

    def add(_: nn.Module, __: object, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        stop = len(prompt.tokens) if stops == "prompt" else None
        changed = output[0].clone()
        changed[:, :stop] += vector
        return changed, *output[1:]

    total, bare = 0.0, model.engine.model
    whole = [*prompt.tokens, prompt.answer, *prompt.rest]
    handle = attention.register_forward_hook(add)
    try:
        for end in range(len(prompt.tokens) - prompt.n_bare, len(whole)):
            with torch.inference_mode():
                logits = bare(input_ids=torch.tensor([whole[:end]])).logits[0, -1]
            total += logits.log_softmax(-1)[whole[end]].item()
    finally:
        handle.remove()
    return total


@pytest.mark.parametrize("positions", ["prompt", "all"])
def test_token_after_token(
    family: str, model: Model, pairs: pd.DataFrame, prompts: dict[str, Prompt], positions: AnswerPositions
) -> None:
    last = model.engine.n_layers - 1
    scale = 2 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    cells = list_cells(pairs, [0, last], [scale], ["unembed"])
    encoder = MemoryEncoder(model.engine, model.tokenizer, model.processed)
    found = pd.concat(CellComputer(model.engine, encoder, whole=positions).compute(cells, prompts))
    first = pd.concat(CellComputer(model.engine, encoder).compute(cells, prompts)).sort_index()
    for name in ("logp_obscure", "logp_injected", "rank_injected", "top_token_id", "kl"):
        pd.testing.assert_series_equal(found.sort_index()[name], first[name], rtol=1e-4, atol=1e-4)
    assert len({prompts[cell.prompt].n_scored for cell in found.itertuples()}) > 2
    moved = 0
    for cell in found.groupby("layer").sample(6, random_state=0).itertuples():
        attention = ATTENTION[family](model.engine.model, cell.layer)
        vector = cell.magnitude * model.slow_vector("unembed", cell.memory, cell.layer)
        prompt = prompts[cell.prompt]
        clean = sum_by_hand(model, attention, prompt, torch.zeros(()), positions)
        injected = sum_by_hand(model, attention, prompt, vector, positions)
        assert cell.logp_whole_obscure == pytest.approx(clean, abs=1e-5, rel=1e-6)
        assert cell.logp_whole_injected == pytest.approx(injected, abs=1e-5, rel=1e-6)
        moved += abs(injected - clean) > 1e-2
        if prompt.n_scored == 1:
            assert cell.logp_whole_injected == pytest.approx(cell.logp_injected, abs=1e-6)
    assert moved > 6


def test_both_engines_score_whole_answers_alike(model: Model, pairs: pd.DataFrame, prompts: dict[str, Prompt]) -> None:
    encoder = MemoryEncoder(model.engine, model.tokenizer, model.processed)
    scale = 2 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    cells = list_cells(pairs, [0, model.engine.n_layers - 1], [scale, 2 * scale], ["unembed"])
    lengths = cells["prompt"].map(lambda prompt: len(prompts[prompt].tokens))
    cells = cells.assign(start=1, stop=lengths.where(cells["magnitude"] == scale, lengths - 1))
    tables = []
    for engine in (model.engine, HookedEngine(model.bridge)):
        computer = CellComputer(engine, encoder, whole="all")
        tables.append(pd.concat(computer.compute(cells, prompts)).sort_index())
    for name in ("logp_whole_obscure", "logp_whole_injected", "logp_injected"):
        pd.testing.assert_series_equal(tables[0][name], tables[1][name], rtol=1e-4, atol=2e-4)
    assert (tables[0]["logp_whole_injected"] - tables[0]["logp_whole_obscure"]).abs().max() > 0.1


def test_a_bare_space_before_the_first_token_belongs_to_the_whole_answer(model: Model) -> None:
    prompt = Prompt.tokenise(model.tokenizer, "The year was", "1929")
    whole = tokenise_prompt(model.tokenizer, "The year was 1929")
    assert prompt.whole == whole
    assert prompt.n_scored == len(whole) - len(tokenise_prompt(model.tokenizer, "The year was"))
