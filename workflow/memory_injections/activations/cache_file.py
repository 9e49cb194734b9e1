"""The file format of the activation cache: one safetensors file, written and read some rows at a time."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.int64: "I64"}


class ActivationCache:
    """A memory-mapped activation cache; tensors are read when they are asked for."""

    def __init__(self, path: str | Path) -> None:
        self._file: Any = safe_open(path, framework="pt")

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(name)

    @property
    def n_prompts(self) -> int:
        """Number of prompt pairs."""
        return self._file.get_slice("answer_id").get_shape()[0]

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of a tensor; only they are read."""
        return self._file.get_slice(name)[start:stop]


class ActivationCacheWriter:
    """Writes an activation cache in order, some rows of every tensor at a time.

    safetensors' own `save_file` takes whole tensors, which need not fit into memory here; the format is a header of
    JSON and the tensors' bytes behind it.
    """

    def __init__(self, path: Path, n_rows: int) -> None:
        self._file, self._n_rows, self._start = path.open("wb"), n_rows, 0
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> "ActivationCacheWriter":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """The next rows of every tensor; every call names the same tensors."""
        if not self._offsets:
            self._write_header(tensors)
        for name, values in tensors.items():
            data = values.contiguous().numpy().data
            self._file.seek(self._offsets[name] + self._start * (values.nbytes // len(values)))
            self._file.write(data)
        self._start += len(tensors["answer_id"])

    def _write_header(self, tensors: Mapping[str, Tensor]) -> None:
        header, end = {}, 0
        for name, values in tensors.items():
            begin, end = end, end + values.nbytes // len(values) * self._n_rows
            shape = [self._n_rows, *values.shape[1:]]
            header[name] = {"dtype": _DTYPES[values.dtype], "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._offsets = {name: 8 + len(text) + entry["data_offsets"][0] for name, entry in header.items()}
