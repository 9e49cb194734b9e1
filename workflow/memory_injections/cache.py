"""Reading the activation cache that `activations` makes."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor


class ActivationCache:
    """A memory-mapped activation cache; tensors are read when they are asked for."""

    def __init__(self, path: str | Path) -> None:
        self._file: Any = safe_open(path, framework="pt")

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(name)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of a tensor; only they are read."""
        return self._file.get_slice(name)[start:stop]
