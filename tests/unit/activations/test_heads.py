"""Heads read from the activation cache equal those from the model itself; their tables name model and data set."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from memory_injections.activations import heads
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from memory_injections.activations.heads import (
    TARGETS_SCHEMA,
    TOP_SCHEMA,
    HeadReadings,
    count_above,
    find_others,
)
from memory_injections.activations.recording import record_activations
from memory_injections.models.processed_weights import (
    compute_head_results,
    read_each_head,
    read_in_vocabulary,
)
from memory_injections.models.tokenisation import Prompt, find_first_token, list_vocabulary, tokenise_memory
from slow_path import Model

TOP_K = 3


@pytest.fixture(scope="module")
def model(tiny_models: dict[str, Path]) -> Model:
    return Model(tiny_models["llama"])


@pytest.fixture(scope="module")
def read(model: Model, pairs: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], HeadReadings]:
    """Read the heads of some prompts from a cache of activations."""
    path = tmp_path_factory.mktemp("heads") / "cache"
    with ActivationCacheWriter(path, len(pairs), {"model": "tiny", "dataset": "own"}) as writer:
        writer.write(record_activations(model.bridge, model.tokenizer, pairs, bos=True))
    vocabulary = list_vocabulary(model.tokenizer, model.processed.W_U.shape[1])

    def read() -> HeadReadings:
        parts = list(heads.read_heads(ActivationCache(path), model.processed, pairs, vocabulary, TOP_K))
        return HeadReadings(pd.concat(part.top for part in parts), pd.concat(part.targets for part in parts))

    return read


@pytest.fixture(scope="module")
def readings(read: Callable[[], HeadReadings]) -> HeadReadings:
    """The heads' readings of some prompts."""
    return read()


def test_tables_say_whose_heads_they_are(readings: HeadReadings) -> None:
    for table, schema in ((readings.top, TOP_SCHEMA), (readings.targets, TARGETS_SCHEMA)):
        assert schema.names[:2] == ["model", "dataset"]
        written = pa.Table.from_pandas(table, schema, preserve_index=False).to_pandas()
        assert set(written["model"]) == {"tiny"}
        assert set(written["dataset"]) == {"own"}


def test_a_head_is_read_as_the_model_computes_it(model: Model, pairs: pd.DataFrame, readings: HeadReadings) -> None:
    pair, next_pair, layer, head = pairs.iloc[3], pairs.iloc[4], 1, 2
    others = {
        "answer": Prompt.tokenise(model.tokenizer, next_pair["obscure_prompt"], next_pair["answer"]).answer,
        "memory": find_first_token(model.tokenizer, next_pair["memory"]),
        "injected": model.tokenizer(next_pair["memory"], add_special_tokens=False)["input_ids"][0],
    }
    for kind in ("explicit", "obscure"):
        prompt = Prompt.tokenise(model.tokenizer, pair[f"{kind}_prompt"], pair["answer"])
        tokens = {
            "answer": prompt.answer,
            "memory": find_first_token(model.tokenizer, pair["memory"]),
            "injected": model.tokenizer(pair["memory"], add_special_tokens=False)["input_ids"][0],
        }
        assert tokens["injected"] in tokenise_memory(model.tokenizer, pair["memory"])
        assert tokens["injected"] != tokens["memory"]
        with torch.inference_mode():
            _, cache = model.bridge.run_with_cache(torch.tensor([prompt.tokens]))
            result = cache[f"blocks.{layer}.attn.hook_z"][0, -1, head] @ model.bridge.W_O[layer, head]
            logits = result @ model.bridge.W_U + model.bridge.b_U
        where = f"prompt_id == {pair['prompt_id']} and prompt_kind == '{kind}' and layer == {layer} and head == {head}"
        top = readings.top.query(where).sort_values("rank")
        np.testing.assert_array_equal(top["token_id"], logits.topk(TOP_K).indices)
        np.testing.assert_allclose(top["logit"], logits.topk(TOP_K).values, rtol=1e-4, atol=1e-4)
        for target in readings.targets.query(where).itertuples():
            token = tokens[str(target.target)]
            assert target.token_id == token
            assert target.logit == pytest.approx(logits[token].item(), abs=1e-4)
            assert abs(target.rank - (logits > logits[token]).sum().item()) <= 1
            other = others[str(target.target)]
            assert other != token
            assert abs(target.rank_other - (logits > logits[other]).sum().item()) <= 1


@pytest.mark.parametrize("has_norm", [False, True])
@pytest.mark.parametrize("n_texts", [1, 3, 40])
def test_heads_of_few_and_of_many_texts_are_read_alike(has_norm: bool, n_texts: int, model: Model) -> None:
    processed = model.processed
    if has_norm:
        gain = torch.rand(processed.b_O.shape, generator=torch.Generator().manual_seed(1))
        processed = replace(processed, norm_w=gain, norm_eps=torch.tensor(1e-3))
    n_layers, n_heads, d_head, d_model = processed.W_O.shape
    assert (n_texts * (d_model - d_head) > d_head * d_model) == (n_texts == 40)
    z = torch.randn(n_texts, n_layers, n_heads, d_head, generator=torch.Generator().manual_seed(0))
    expected = read_in_vocabulary(processed, compute_head_results(processed, z))
    read = {(layer, head): logits for layer, head, logits in read_each_head(processed, z)}
    assert list(read) == [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    for (layer, head), logits in read.items():
        torch.testing.assert_close(logits, expected[:, layer, head], rtol=1e-4, atol=1e-5)


def test_what_is_read_together_changes_no_number(
    readings: HeadReadings, read: Callable[[], HeadReadings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "TEXTS_READ_AT_ONCE", 6)
    monkeypatch.setattr(heads, "HEADS_AT_ONCE", 24)
    key = ["prompt_id", "prompt_kind", "layer", "head"]
    again = read()
    for found, expected, last in ((again.top, readings.top, "rank"), (again.targets, readings.targets, "target")):
        tables = (table.sort_values([*key, last], ignore_index=True) for table in (found, expected))
        pd.testing.assert_frame_equal(*tables, rtol=1e-4)


def test_a_rank_counts_what_is_above() -> None:
    logits = torch.randn(2, 3, 500, generator=torch.Generator().manual_seed(0))
    values = torch.stack([logits.amin(dim=-1), logits[..., 7], logits.amax(dim=-1)])[..., None]
    for own in values:
        assert torch.equal(count_above(logits, own), (logits > own).sum(dim=-1, keepdim=True))
    both = torch.cat([values[0], values[1]], dim=-1)
    assert torch.equal(count_above(logits, both), torch.cat([count_above(logits, own) for own in values[:2]], dim=-1))


def test_the_other_pair_has_another_answer_and_another_memory() -> None:
    answers, memories = np.array([1, 1, 2, 3]), np.array([7, 8, 7, 9])
    assert find_others(answers, memories).tolist() == [3, 2, 3, 0]
    assert find_others(np.array([1, 1]), np.array([7, 8])).tolist() == [-1, -1]
