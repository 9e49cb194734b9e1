"""A tiny copy of the authors' repository of published results, and reading a sweep from a copy as cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from memory_injections.paper.published import find_sweeps, iterate_cells, list_magnitudes
from memory_injections.paper.published_sources import CURATED_RESULTS, RANDOM_RESULTS, WORD_RESULTS
from memory_injections.sweeps.identity import SweepId

HOOK = "memory_tweaker_unembed_head_hook"
TINY_CURATED = SweepId("gpt2", "hand", "curated", "unembed")
TINY_RANDOM = SweepId("gpt2", "hand", "nouns", "unembed")
# The numbers that a paper about the tiny copy would report.
TINY_PAPER: dict[str, Any] = {
    "headline": {"percent": 424, "sweeps": [["gpt2", "2wmh"]]},
    "sites": {"gpt2": {"hand": [1, 2]}},
    "values": {"gpt2": {"hand": 50}},
    "rules": {"mean": "2023-08-26"},
    "magnitudes": [1, 2],
}


def write_authors_files(root: Path, prompts: int = 6, seed: int = 0, magnitudes: tuple[int, ...] = (1, 2)) -> Path:
    """Write a tiny copy of the authors' repository: curated memories and nouns at two layers.

    A file of words at one site belongs to layer 1, magnitude 2.
    """
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.1, 0.3, prompts)
    texts = {
        "explicit_sentence": [f"entity {row} is in" for row in range(prompts)],
        "obscure_sentence": [f"thing {row} is in" for row in range(prompts)],
        "answer": [f" answer {row}" for row in range(prompts)],
        "explicit_entity": [f"entity {row}" for row in range(prompts)],
        "answer_prob_exp": 2 * before,
        "answer_prob_obs": before,
    }
    for folder in (curated_folder(root), random_folder(root)):
        folder.mkdir(parents=True)
    for magnitude in magnitudes:
        table = pd.DataFrame(texts)
        for layer in range(2):
            table[f"ans_prob_obs_edit_layer{layer}"] = before * (1.5 if (layer, magnitude) == (1, 2) else 0.9)
            table[f"topk_tok_obs_edit_layer{layer}"] = str([7, 8, 9])
        table.to_csv(curated_folder(root) / f"tweak_{magnitude}.csv")
        for layer in range(2):
            table[f"ans_prob_obs_edit_layer{layer}"] *= 0.8
            table[f"injected_memory_layer_{layer}"] = "time"
        table.to_csv(random_folder(root) / f"gpt2-small_hand_pos_inject_tweakFactor_{magnitude}.csv")
    words = {"ans_prob_obs_edit_subject_time": before * 1.5 * 0.8, "ans_prob_obs_edit_subject_way": before * 0.7}
    word_file(root).parent.mkdir(parents=True)
    pd.DataFrame({**texts, **words}).to_csv(word_file(root))
    return root


def curated_folder(root: Path) -> Path:
    """Return the folder of the tiny copy's curated memories."""
    return root / CURATED_RESULTS / "data" / "gpt2-small" / HOOK


def random_folder(root: Path) -> Path:
    """Return the folder of the tiny copy's random memories."""
    return root / RANDOM_RESULTS / "gpt2-small" / "hand" / "nouns"


def word_file(root: Path, label: int = 1) -> Path:
    """Return the tiny copy's file of words at one site."""
    name = f"gpt2-small_hand_fake_inject_layer{label}_tweak2_nouns.csv"
    return root / WORD_RESULTS / "gpt2-small_hand" / name


def read_sweep(root: Path, sweep: SweepId = TINY_CURATED) -> pd.DataFrame:
    """Read all cells of a sweep from a copy of the authors' repository."""
    return pd.concat(iterate_cells(sweep, list_magnitudes(find_sweeps(root)[sweep]).values()))
