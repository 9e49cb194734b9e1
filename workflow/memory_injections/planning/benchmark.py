"""How fast cells are computed here, beside a plain loop and beside what the machine can multiply."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from memory_injections.config.study import Study
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.loading import fuse_activations, set_precision
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import Prompt, load_tokenizer
from memory_injections.sweeps.cell_plan import hash_prompt, plan_cells
from memory_injections.sweeps.grid import Sweep
from memory_injections.terms import CURATED, Precision

CONFIGS: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(),
    "gpt2-large": GPT2Config(n_layer=36, n_head=20, n_embd=1280),
    "smollm2": LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def measure_products(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """FLOP/s of large square matrix products."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return 2 * n**3 * _measure_rate(lambda: a @ b, device, seconds)


def _measure_rate(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    work()
    _wait(device)
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            work()
        _wait(device)
        times += 4
    return times / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_reference(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    cells: pd.DataFrame,
    prompts: dict[str, Prompt],
    vector: torch.Tensor,
) -> tuple[float, float]:
    """Cells/s of two plain loops over a few cells: one pass a cell, and two on processed weights.

    The model is not fit for anything else afterwards.
    """
    bridge = TransformerBridge.boot_transformers("reference", hf_model=model, tokenizer=tokenizer)

    def injected(cell: pd.Series) -> float:
        prompt = prompts[cell["prompt"]]
        hook = (f"blocks.{cell['layer']}.hook_attn_out", lambda out, hook: out + cell["magnitude"] * vector)
        logits = bridge.run_with_hooks(torch.tensor([prompt.tokens], device=vector.device), fwd_hooks=[hook])
        return logits[0, -1].float().softmax(-1)[prompt.answer].item()

    def clean_and_injected(cell: pd.Series) -> float:
        prompt = prompts[cell["prompt"]]
        logits = bridge(torch.tensor([prompt.tokens], device=vector.device))
        return injected(cell) - logits[0, -1].float().softmax(-1)[prompt.answer].item()

    one_pass = _time_loop(injected, cells)
    bridge.enable_compatibility_mode(disable_warnings=True)
    return one_pass, _time_loop(clean_and_injected, cells)


def _time_loop(work: Callable[[pd.Series], float], cells: pd.DataFrame) -> float:
    rows = [cells.iloc[index] for index in range(0, len(cells), max(1, len(cells) // 8))]
    with torch.inference_mode():
        work(rows[0])
        start = time.perf_counter()
        for row in rows:
            work(row)
    return len(rows) / (time.perf_counter() - start)


def measure(
    name: str, precision: Precision, cells: pd.DataFrame, prompts: dict[str, Prompt], tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, object], str]:
    """One row of the benchmark's table, and where the engine's time went."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = set_precision(precision)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(deepcopy(CONFIGS[name]), dtype=dtype)
    model = fuse_activations(model.eval().requires_grad_(False))
    unembed = model.get_output_embeddings().weight.float()
    processed = ProcessedWeights(unembed, unembed.T, unembed[:, 0], unembed[None, None], unembed[:1])
    injection_engine = SkippingEngine(model)
    computer = CellComputer(injection_engine, MemoryEncoder(injection_engine, tokenizer, processed))

    def run(some: pd.DataFrame) -> None:
        for _ in computer.compute(some, prompts):
            pass

    few = cells[cells["prompt"].isin(cells["prompt"].unique()[::4])]
    run(few)
    before = measure_products(device, dtype)
    start = time.perf_counter()
    run(cells)
    seconds = time.perf_counter() - start
    products = (before + measure_products(device, dtype)) / 2
    with FlopCounterMode(display=False) as counter:
        run(cells)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled:
        run(few)
    in_products, operations = _read_profile(profiled, device)
    engine, flops = len(cells) / seconds, counter.get_total_flops() / seconds
    vector = computer.encoder.encode([("unembed", cells["memory"].iloc[0])], [0]).vectors[0].to(dtype)
    one_pass, two_passes = measure_reference(model, tokenizer, cells, prompts, vector)
    row = {
        "model": name,
        "precision": precision,
        "cells": len(cells),
        "one pass": round(one_pass, 2),
        "reference": round(two_passes, 2),
        "engine": round(engine, 1),
        "ratio": round(engine / two_passes, 1),
        "TFLOP/s": round(flops / 1e12, 3),
        "products": round(products / 1e12, 3),
        "share": f"{flops / products:.0%}",
        "in products": f"{in_products:.0%}",
    }
    return row, f"{name}, {precision}\n{operations}"


def _read_profile(profiled: profile, device: torch.device) -> tuple[float, str]:
    """The share of PyTorch's time that goes into matrix products, and a table of the longest operations."""
    time_name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    averages = profiled.key_averages()
    times = {event.key: getattr(event, time_name) for event in averages if event.key.startswith("aten::")}
    share = sum(times.get(name, 0) for name in PRODUCTS) / sum(times.values())
    return share, averages.table(sort_by=time_name, row_limit=12, max_name_column_width=48)


@dataclass(frozen=True)
class Extent:
    """How much is computed: prompts, layers (0 for all of them) and magnitudes."""

    prompts: int
    layers: int
    magnitudes: int

    def plan(self, pairs: pd.DataFrame, n_layers: int) -> pd.DataFrame:
        """Plan the cells of a model, in evenly spread layers."""
        n_swept = self.layers or n_layers
        layers = [(2 * index + 1) * n_layers // (2 * n_swept) for index in range(n_swept)]
        magnitudes = [float(t) for t in range(1, self.magnitudes + 1)]
        return plan_cells(pairs, [Sweep(CURATED, "unembed", layers, magnitudes)], {}, 0)


def run_benchmark(
    study: Study, models: Sequence[str] | None, precision: Precision, extent: Extent, is_profiled: bool
) -> None:
    """Measure models, all by default, on a study's first data set, and print a table with a row for each."""
    if unknown := set(models or []) - CONFIGS.keys():
        raise StudyError(f"model {min(unknown)!r} is not known here; known: {', '.join(CONFIGS)}")
    logging.disable(logging.WARNING)
    pairs = next(iter(study.datasets.values())).read_pairs().head(extent.prompts)
    rows, profiles = [], []
    # TransformerLens reads the tokenizer's files again, so they stay until all is measured.
    with tempfile.TemporaryDirectory() as folder:
        next(iter(study.models.values())).fetch(Path(folder))
        tokenizer = load_tokenizer(Path(folder))
        prompts = {
            hash_prompt(text, answer): Prompt.tokenise(tokenizer, text, answer)
            for text, answer in zip(pairs["obscure_prompt"], pairs["answer"], strict=True)
        }
        for name in models or CONFIGS:
            cells = extent.plan(pairs, CONFIGS[name].num_hidden_layers)
            row, profiled = measure(name, precision, cells, prompts, tokenizer)
            rows.append(row)
            profiles.append(profiled)
            print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{machine}, torch {torch.__version__}\n\n{pd.DataFrame(rows).to_string(index=False)}")
    if is_profiled:
        print("\n\n".join(["", *profiles]))
