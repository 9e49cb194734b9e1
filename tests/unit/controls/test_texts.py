"""The texts that controls are compared with, and what a model says after them."""

from pathlib import Path

import pandas as pd
import torch
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.tokenisation import tokenise_prompt
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


@torch.inference_mode()
def test_the_top_token_is_the_models_own(tiny_models: dict[str, Path], tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_models["gpt2"]).eval()
    prompts = ["The capital of France is", "George Washington fought in the", "The"]
    texts = pd.DataFrame({"prompt_id": range(3), "text": "obscure", "prompt": prompts, "answers": [["war"]] * 3})
    scores = score_texts(texts, SkippingEngine(model), tokenizer)
    for row, prompt in zip(scores.itertuples(), prompts, strict=True):
        logits = model(torch.tensor([tokenise_prompt(tokenizer, prompt)])).logits[0, -1]
        assert row.top_token_id == logits.argmax()
        assert row.top_token == tokenizer.decode([row.top_token_id])


def test_the_texts_of_a_pair(tokenizer: PreTrainedTokenizerFast) -> None:
    pair = {
        "prompt_id": 3,
        "explicit_prompt": "Karl Marx died in",
        "obscure_prompt": "The author of Das Kapital died in",
        "memory": "Karl Marx",
        "answer": "London",
    }

    def list_by_name(**changes: str) -> dict[str, tuple[str, str]]:
        texts = list_texts(PlannedPrompts.of_pairs(pd.DataFrame([pair | changes]), tokenizer))
        return {row.text: (row.prompt, row.answer) for row in texts.itertuples()}

    texts = list_by_name()
    assert texts["first_hop"] == ("The author of Das Kapital is", "Karl Marx")
    assert texts["without_entity"] == ("The author died in", "London")
    assert texts["without_relation"] == ("Das Kapital died in", "London")
    assert list_by_name(entity="Kapital")["without_relation"] == ("Kapital died in", "London")
    own = list_by_name(first_hop_prompt="Das Kapital was written by")
    assert own == texts | {"first_hop": ("Das Kapital was written by", "Karl Marx")}
    assert list_by_name(first_hop_prompt="") == texts  # a row without one
    unlike = list_by_name(explicit_prompt="He died in", obscure_prompt="Who wrote it left us in", memory="Marx")
    assert {"first_hop", "without_entity"}.isdisjoint(unlike)
