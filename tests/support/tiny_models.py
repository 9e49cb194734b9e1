"""Tiny randomly initialised models of several architectures, and a tokenizer for them."""

from pathlib import Path
from typing import Any

import torch
from conftest import PAIRS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

SMALL: dict[str, Any] = {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
CONFIGS: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(n_layer=3, n_head=4, n_embd=32, n_positions=64, **SMALL),
    "gpt-neo": GPTNeoConfig(
        num_layers=4, num_heads=4, hidden_size=32, window_size=4, max_position_embeddings=64,
        attention_types=[[["global", "local"], 2]], **SMALL,
    ),
    "gpt-j": GPTJConfig(n_layer=3, n_head=4, n_embd=32, n_positions=64, rotary_dim=4, **SMALL),
    "gpt-neox": GPTNeoXConfig(
        num_hidden_layers=3, num_attention_heads=4, hidden_size=32, intermediate_size=64, max_position_embeddings=64,
        **SMALL,
    ),
    "llama": LlamaConfig(
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, hidden_size=32, intermediate_size=64,
        max_position_embeddings=64, **SMALL,
    ),
}  # fmt: skip


def train_tokenizer(size: int = 400) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of `size` tokens on the project's own prompts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|bos|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train([str(PAIRS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|bos|>", eos_token="<|bos|>")


def save_models(folder: Path) -> None:
    """Save each model in a folder of its name, randomly initialised, with non-trivial norms and biases."""
    tokenizer = train_tokenizer()
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
