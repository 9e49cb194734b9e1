"""A tiny copy of the authors' repository of published results, and reading a sweep from a copy as cells."""

from pathlib import Path

import numpy as np
import pandas as pd
from memory_injections.paper.published import find_sweeps, iterate_cells
from memory_injections.paper.published_sources import CURATED_RESULTS, RANDOM_RESULTS
from memory_injections.sweeps.identity import SweepId

HOOK = "memory_tweaker_unembed_head_hook"
TINY_CURATED = SweepId("gpt2", "hand", "curated", "unembed")
TINY_RANDOM = SweepId("gpt2", "hand", "nouns", "unembed")
# The numbers that a paper about the tiny copy would report.
TINY_PAPER = {"headline": 424, "sites": {"gpt2": {"hand": [1, 2]}}}


def write_authors_files(root: Path, prompts: int = 6, seed: int = 0, magnitudes: tuple[int, ...] = (1, 2)) -> Path:
    """Write a tiny copy of the authors' repository: curated memories and nouns at two layers."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.1, 0.3, prompts)
    texts = {
        "explicit_entity": [f"entity {row}" for row in range(prompts)],
        "answer_prob_exp": 2 * before,
        "answer_prob_obs": before,
    }
    random = root / RANDOM_RESULTS / "gpt2-small" / "hand" / "nouns"
    for folder in (curated_folder(root), random):
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
        table.to_csv(random / f"gpt2-small_hand_pos_inject_tweakFactor_{magnitude}.csv")
    return root


def curated_folder(root: Path) -> Path:
    """Return the folder of the tiny copy's curated memories."""
    return root / CURATED_RESULTS / "data" / "gpt2-small" / HOOK


def read_sweep(root: Path, sweep: SweepId = TINY_CURATED) -> pd.DataFrame:
    """Read all cells of a sweep from a copy of the authors' repository."""
    return pd.concat(iterate_cells(sweep, find_sweeps(root)[sweep]))
