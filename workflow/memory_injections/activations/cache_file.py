"""The file format of the activation cache: one safetensors file, written and read a few rows at a time.

Relative doses are shares of the residual stream's length, which is measured on it.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from memory_injections.models.processed_weights import ProcessedWeights

# PyTorch is imported by safetensors, and only when a tensor is read: whoever reads arrays does without it.
DTYPES = {"float32": "F32", "int64": "I64"}
# Prompts whose residual streams are in memory together.
PROMPTS_AT_ONCE = 100


class ActivationCache:
    """A memory-mapped activation cache, read tensor by tensor.

    `model` and `dataset` are the names of the model and the data set that it was recorded from.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._arrays: Any = safe_open(path, framework="np")
        names = self._arrays.metadata()
        self.model: str = names["model"]
        self.dataset: str = names["dataset"]

    @cached_property
    def _tensors(self) -> Any:
        return safe_open(self._path, framework="pt")

    def __getitem__(self, name: str) -> "Tensor":
        """Return a whole tensor, [prompt, ...]."""
        return self._tensors.get_tensor(name)

    @property
    def n_prompts(self) -> int:
        """Number of prompt pairs."""
        return self._arrays.get_slice("answer_id").get_shape()[0]

    def rows(self, name: str, start: int, stop: int) -> "Tensor":
        """Return some rows of a tensor; nothing else is read."""
        return self._tensors.get_slice(name)[start:stop]

    def read_array(self, name: str) -> np.ndarray:
        """Return a whole tensor, [prompt, ...], as an array, without PyTorch."""
        return self._arrays.get_tensor(name)


class ActivationCacheWriter:
    """Writes an activation cache from the first row to the last, a few rows of every tensor at a time.

    `n_rows` is the number of prompt pairs, and `names` has the names of the model and the data set (`model`,
    `dataset`). The file is a header of JSON, and the bytes of the tensors behind it. safetensors' own `save_file` takes
    whole tensors, which may be larger than memory here.
    """

    def __init__(self, path: Path, n_rows: int, names: Mapping[str, str]) -> None:
        self._file, self._n_rows, self._start = path.open("wb"), n_rows, 0
        self._names = {name: names[name] for name in ("model", "dataset")}
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> "ActivationCacheWriter":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def write(self, tensors: Mapping[str, "Tensor"]) -> None:
        """Write the next rows of every tensor; every call takes the same tensors, `answer_id` among them."""
        if not self._offsets:
            self._write_header(tensors)
        for name, values in tensors.items():
            data = values.contiguous().numpy().data
            self._file.seek(self._offsets[name] + self._start * (values.nbytes // len(values)))
            self._file.write(data)
        self._start += len(tensors["answer_id"])

    def _write_header(self, tensors: Mapping[str, "Tensor"]) -> None:
        header: dict[str, Any] = {"__metadata__": self._names}
        begins, end = {}, 0
        for name, values in tensors.items():
            begins[name], end = end, end + values.nbytes // len(values) * self._n_rows
            header[name] = {
                "dtype": DTYPES[str(values.numpy().dtype)],
                "shape": [self._n_rows, *values.shape[1:]],
                "data_offsets": [begins[name], end],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._offsets = {name: 8 + len(text) + begin for name, begin in begins.items()}


def measure_residual_norms(cache: ActivationCache, processed: "ProcessedWeights") -> 'Float[Tensor, "prompt layer"]':
    """Return the length of the residual stream before each block, at the last position of the obscure prompts."""
    import torch

    norms = [
        processed.measure_lengths(cache.rows("obscure.resid", start, start + PROMPTS_AT_ONCE)[:, :-1])
        for start in range(0, cache.n_prompts, PROMPTS_AT_ONCE)
    ]
    return torch.cat(norms)
