"""The texts that controls are compared with, and what a model says after them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from memory_injections.controls import texts
from memory_injections.controls.texts import score_prompts, score_texts
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.tokenisation import Prompt, batch_by_length, tokenise_prompt
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


@torch.inference_mode()
def test_the_top_token_is_the_models_own(tiny_models: dict[str, Path], tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_models["gpt2"]).eval()
    prompts = ["The capital of France is", "George Washington fought in the", "The"]
    table = pd.DataFrame({"prompt_id": range(3), "text": "obscure", "prompt": prompts, "answer": "war"})
    scores = score_texts(table, SkippingEngine(model), tokenizer)
    for row, prompt in zip(scores.itertuples(), prompts, strict=True):
        logits = model(torch.tensor([tokenise_prompt(tokenizer, prompt)])).logits[0, -1]
        assert row.top_token_id == logits.argmax()
        assert row.top_token == tokenizer.decode([row.top_token_id])


@torch.inference_mode()
def test_texts_are_scored_alike_in_smaller_batches_and_batched_once(
    tiny_models: dict[str, Path], tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batching anew before each batch would take the square of the number of texts."""
    engine = SkippingEngine(AutoModelForCausalLM.from_pretrained(tiny_models["gpt2"]).eval())
    prompts = [Prompt([0, *range(1, 3 + number % 9)], 7) for number in range(600)]
    batched: list[Any] = []

    def note_batches(*given: Any) -> list[list[int]]:
        batched.append(given)
        return batch_by_length(*given)

    monkeypatch.setattr(texts, "batch_by_length", note_batches)
    expected = score_prompts(prompts, engine)
    assert len(batched) == 1

    clean = engine.clean

    def run_out_of_memory(tokens: torch.Tensor, *others: Any) -> Any:
        if tokens.numel() > 500:
            raise torch.OutOfMemoryError("out of memory")
        return clean(tokens, *others)

    monkeypatch.setattr(engine, "clean", run_out_of_memory)
    found = score_prompts(prompts, engine)
    assert len(batched) > 2
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values)
