"""What a job that holds a model asks a scheduler for: rough, generous, and known as soon as there is a manifest.

`costs` plans a study closely, for a named GPU and before anything is fetched; a scheduler wants an upper bound instead,
from whatever GPUs it has. Times are those of an A100 in float32 at half of its rate, or of two CPU cores.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .precision import Precision

# A model fills at most this share of a GPU's memory; the rest is for what it computes.
MODEL_SHARE = 0.8
GPU_FLOP_PER_SECOND, CPU_FLOP_PER_SECOND = 8e12, 0.05e12
# Of every job: Python, its libraries and the tables under way; imports, a cold file system, a slow start.
START_MB, START_MINUTES = 4000, 15
LOADED_MB_PER_SECOND = 100
# How often weight processing, and a mere pass, hold the weights in host memory.
PROCESSED, LOADED = 4, 1.5
# Positions of a long prompt; a cell computes the layers above its own, which are half of them on average.
POSITIONS, SHARE_OF_LAYERS = 24, 0.6


@dataclass(frozen=True)
class Demand:
    """GPUs, MB of host memory and minutes."""

    gpu: int
    mem_mb: int
    runtime: int


def gpus_needed(model_bytes: float, gpu_bytes: float) -> int:
    """How many GPUs of some memory a model of this size is spread over."""
    return math.ceil(model_bytes / (MODEL_SHARE * gpu_bytes))


def model_mb(manifest: Mapping[str, Any], precision: Precision = "float32") -> float:
    """Memory of a model's weights."""
    return manifest["n_parameters"] * (2 if precision == "bfloat16" else 4) / 1e6


def of_lens(manifest: Mapping[str, Any]) -> Demand:
    """The lens is taken on CPU cores, with processed weights."""
    return _demand(0, PROCESSED * model_mb(manifest), model_mb(manifest))


def of_activations(manifest: Mapping[str, Any], n_prompts: int, gpu_mb: float) -> Demand:
    """One pass of every text, through processed weights."""
    weights = model_mb(manifest)
    gpus = _gpus(2 * weights, gpu_mb)
    flop = 2 * manifest["n_parameters"] * 3 * POSITIONS * n_prompts
    return _demand(gpus, (LOADED if gpus else PROCESSED) * weights, weights, flop)


def of_attribution(manifest: Mapping[str, Any], n_prompts: int, gpu_mb: float) -> Demand:
    """Every head of two texts, unembedded."""
    heads, vocabulary = manifest["n_layers"] * manifest["n_heads"], manifest["d_model"] * manifest["d_vocab"]
    lens = 3 * 4 * vocabulary / 1e6
    return _demand(_gpus(lens, gpu_mb), 3 * lens, lens, 2 * 2 * n_prompts * heads * vocabulary)


def of_cells(manifest: Mapping[str, Any], n_cells: int, precision: Precision, gpu_mb: float) -> Demand:
    """All cells of a job: a pass through the layers above the injection for each."""
    weights = model_mb(manifest, precision)
    gpus = _gpus(weights, gpu_mb)
    flop = 2 * manifest["n_parameters"] * POSITIONS * SHARE_OF_LAYERS * n_cells
    return _demand(gpus, LOADED * model_mb(manifest), weights, flop)


def _gpus(on_gpus_mb: float, gpu_mb: float) -> int:
    """None where there are no GPUs, and at least one where there are."""
    return max(1, gpus_needed(on_gpus_mb, gpu_mb)) if gpu_mb else 0


def _demand(gpus: int, host_mb: float, loaded_mb: float, flop: float = 0) -> Demand:
    seconds = loaded_mb / LOADED_MB_PER_SECOND + flop / (GPU_FLOP_PER_SECOND if gpus else CPU_FLOP_PER_SECOND)
    return Demand(gpus, math.ceil(START_MB + host_mb), math.ceil(START_MINUTES + seconds / 60))
