"""A small study in a checkout of its own, and its results when it is run from nothing."""

import shutil
from pathlib import Path
from typing import Any

from checkout import Checkout, copy_project
from conftest import PAIRS, WORDS
from faults import read_results

LIBRARY = "workflow/memory_injections"
COMPUTER = f"{LIBRARY}/injection/cell_computer.py"


def make_study(folder: Path, python: Path, model: Path, **changes: Any) -> Checkout:
    """Copy the project into a folder, with a small study of its own prompts, words and model."""
    copy_project(folder)
    shutil.copytree(model, folder / "llama")
    shutil.copy(PAIRS, folder / "mine.csv")
    shutil.copy(WORDS, folder / "words.csv")
    study = {
        "study": "tiny",
        "seed": 0,
        "models": {"llama": {"source": "local", "path": "llama"}},
        "datasets": {"mine": {"source": "file", "path": "mine.csv", "rows": 8}},
        "words": {"source": "file", "path": "words.csv"},
        "injection": {"memories": ["curated", "nouns"], "layers": [0, 2], "magnitudes": [1, 4]},
        "attribution": {"top_k": 3},
        **dict.fromkeys(("controls", "mechanisms", "walkthrough"), False),
    }
    return Checkout(folder, study | changes, python)


def run_anew(checkout: Checkout, folder: Path) -> dict[str, bytes]:
    """Run a checkout's study from nothing, in another folder; return its results."""
    left_out = shutil.ignore_patterns("results", ".snakemake", "logs", "benchmarks", "__pycache__")
    shutil.copytree(checkout.folder, folder, ignore=left_out)
    fresh = Checkout(folder, checkout.config, checkout.python)
    fresh.snakemake()
    return read_results(folder)


def list_differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
