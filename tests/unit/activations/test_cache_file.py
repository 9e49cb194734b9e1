"""The activation cache returns what was written, whole or by rows, and records where it came from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from safetensors.torch import load_file

NAMES = {"model": "tiny", "dataset": "own"}
READ_ARRAYS = """
import sys
from memory_injections.activations.cache_file import ActivationCache
cache = ActivationCache(sys.argv[1])
print(cache.model, cache.dataset, cache.n_prompts, cache.read_array("answer_id").tolist(), "torch" in sys.modules)
"""


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Tensors of five prompt pairs."""
    numbers = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    return {
        "answer_id": torch.tensor([3, 1, 4, 1, 5]),
        "explicit.resid": numbers,
        "explicit.p_answer": numbers[:, 0, 0],
    }


@pytest.fixture
def path(tensors: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """A cache that was written in two parts."""
    with ActivationCacheWriter(tmp_path / "cache", 5, NAMES) as writer:
        for rows in (slice(2), slice(2, None)):
            writer.write({name: values[rows] for name, values in tensors.items()})
    return tmp_path / "cache"


def test_what_was_written_is_read(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    cache = ActivationCache(path)
    assert (cache.model, cache.dataset, cache.n_prompts) == ("tiny", "own", 5)
    for name, values in tensors.items():
        assert torch.equal(cache[name], values)
        assert torch.equal(cache.rows(name, 1, 4), values[1:4])
        np.testing.assert_array_equal(cache.read_array(name), values.numpy())


def test_it_is_a_safetensors_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_arrays_are_read_without_pytorch(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", READ_ARRAYS, path], text=True, capture_output=True, check=True)
    assert done.stdout == "tiny own 5 [3, 1, 4, 1, 5] False\n"
