"""A study whose model is spread over two GPUs gives the tables that it gives on one; skipped where there are fewer."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkout import Checkout
from memory_injections.models.limits import GPU_MEMORY_VARIABLE
from small_study import make_study
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
# The model has 6.6 MB. Jobs that process its weights need two GPUs of the first size, the others two of the second.
PROCESSING_MB, RUNNING_MB = 10, 5
HOLDS_A_MODEL = ("activations", "cells", "controls", "mechanisms", "walkthrough")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = GPT2Config(n_layer=8, n_head=4, n_embd=128, n_positions=64, vocab_size=400, bos_token_id=0, eos_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(checkout: Checkout, *arguments: str, limit: int | None = None, **changes: Any) -> None:
    """Run a study with so many MB of each GPU."""
    checkout.config |= changes
    checkout.environment[GPU_MEMORY_VARIABLE] = "" if limit is None else str(limit)
    checkout.snakemake(*arguments, "--cores", "all", "--resources", "gpu=2")


def test_a_study_over_two_gpus(model: Path, tmp_path: Path) -> None:
    parts = {"controls": {}, "mechanisms": {"prompts": 2}}
    whole, spread = (make_study(tmp_path / name, Path(sys.executable), model, **parts) for name in ("whole", "spread"))
    run(whole)
    cache = next((whole.folder / "results").rglob("activations/**/*.safetensors"))
    run(spread, str(cache.relative_to(whole.folder)), limit=PROCESSING_MB)
    run(spread, limit=RUNNING_MB)
    run(spread, limit=PROCESSING_MB, walkthrough=True)
    logs = [path for path in (spread.folder / "logs").rglob("*.log") if "computing on GPU" in path.read_text()]
    on_both = {path for path in logs if "GPU 0 (" in path.read_text() and "GPU 1 (" in path.read_text()}
    for rule in HOLDS_A_MODEL:
        assert any(rule in str(path.relative_to(spread.folder)) for path in on_both), (rule, logs)
    compare_cells(whole.folder, spread.folder)
    tables = [pd.read_csv(each.folder / "results" / "tiny" / "tables" / "controls.csv") for each in (whole, spread)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-2, atol=1e-3)


def compare_cells(*folders: Path) -> None:
    paths = [sorted((folder / "results").rglob("injections/**/*.parquet")) for folder in folders]
    assert len(paths[0]) == len(paths[1]) > 0
    for path, other in zip(*paths, strict=True):
        expected, found = pd.read_parquet(path), pd.read_parquet(other)
        np.testing.assert_allclose(found["p_injected"], expected["p_injected"], rtol=1e-3)
