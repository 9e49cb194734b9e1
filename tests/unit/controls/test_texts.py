"""The texts that controls are compared with, and what a model says after them."""

from pathlib import Path

import pandas as pd
import torch
from memory_injections.controls.texts import score_texts
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
