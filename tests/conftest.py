"""Real tiny models of several architectures, and a way to run the workflow as a user does."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.interactive.pretrained import CACHE_VARIABLE, DEFAULT, Pretrained
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
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

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
GOLDEN = SHARED / "golden" / "tiny-gpt2"
PAIRS = ROOT / "resources" / "prompt_pairs.csv"
WORDS = ROOT / "resources" / "words.csv"

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


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 400 tokens, trained on the project's own prompts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers.decoders import ByteLevel

    bpe.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|bos|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train([str(PAIRS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|bos|>", eos_token="<|bos|>")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> dict[str, Path]:
    """Folders of randomly initialised models, with norms and biases that are not trivial."""
    folders = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        folders[name] = tmp_path_factory.mktemp("models") / name
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models compute longer with several threads, which wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def default_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the default study's model, fetched as a user's first call does it, for all test processes."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache))
        patch.chdir(base)  # where no study lends its model
        Pretrained.named(DEFAULT, torch.device("cpu"))
    return cache


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden model and values, which lie beside the project's clone where its CI runs."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden values at {GOLDEN}")
    return GOLDEN


@pytest.fixture(scope="session")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the authors' results that lies beside the project's clone where its CI runs."""
    archive = SHARED / "reference" / "authors-results.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no published results at {archive}")
    folder = tmp_path_factory.mktemp("authors")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def snakemake() -> Run:
    """Run Snakemake on a config in a folder of its own: `snakemake(folder, config, *arguments, **environment)`."""

    def run(folder: Path, config: dict[str, Any], *arguments: str, **environment: str) -> Any:
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        return subprocess.run(
            [*command, "--directory", str(folder), "--cores", "2", *arguments, "--configfile", "config.yaml"],
            text=True, capture_output=True, env={**os.environ, **environment}, cwd=folder,
        )  # fmt: skip

    return run


def tiny_study(model: Path, **changes: Any) -> dict[str, Any]:
    """A study of a few prompts, layers and words that runs in seconds."""
    study: dict[str, Any] = {
        "study": "tiny",
        "models": {"tiny": {"source": "local", "path": str(model)}},
        "datasets": {"pairs": {"source": "file", "path": str(PAIRS), "rows": 4}},
        "words": {"source": "file", "path": str(WORDS)},
        "injection": {"memories": ["curated", "nouns"], "encodings": ["unembed"], "magnitudes": [1, 4]},
        "attribution": {"top_k": 5},
    }
    return study | changes


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """Prompt pairs of many lengths."""
    table = normalise_pairs(read_csv(PAIRS), "own")
    return table.iloc[np.argsort(table["obscure_prompt"].str.len().to_numpy())[[0, 9, 20, 30, 45, 60, 71]]]
