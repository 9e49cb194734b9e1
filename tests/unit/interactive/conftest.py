"""The tiny models on the slow path."""

from pathlib import Path

import pytest
from slow_path import Model


@pytest.fixture(scope="session")
def models(tiny_models: dict[str, Path]) -> dict[str, Model]:
    return {name: Model(folder) for name, folder in tiny_models.items()}
