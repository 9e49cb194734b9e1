"""What figures show, and that the reports know every registered figure."""

import numpy as np
import pandas as pd
import pytest
from memory_injections.pages.figures import comparison
from memory_injections.sweeps.identity import SweepId


def cells(memories: str, p_obscure: list[float], p_injected: list[float], layer: int = 0) -> pd.DataFrame:
    sweep = SweepId("tiny", "mine", memories, "unembed")
    table = pd.DataFrame({"layer": layer, "magnitude": 1.0, "p_obscure": p_obscure, "p_injected": p_injected})
    return table.assign(**sweep.columns)


def test_comparison_draws_true_means_in_both_panels() -> None:
    sweeps = [cells(memories, [0.1, 0.1, 0.1], [0.1, 0.2, 10.0]) for memories in ("nouns", "curated")]
    figure = comparison(pd.concat(sweeps, ignore_index=True))
    for axes in figure.axes:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["curated", "nouns"]
        diamonds = [line for line in axes.lines if line.get_marker() == "D"]
        values = [float(np.asarray(line.get_ydata())[0]) for line in diamonds]
        assert values == pytest.approx([3333.333, 3333.333], rel=1e-4)


def test_no_prompt_falls_off_the_axis() -> None:
    curated = [
        cells("curated", [0.1] * 3, [0.09, 0.1, 0.3]),
        cells("curated", [0.1] * 3, [0.09, 0.11, 0.11], layer=1),
    ]
    random = [
        cells("nouns", [0.1] * 3, [0.1, 0.1, 0.1]),
        cells("nouns", [0.1] * 3, [0.0001, 0.1, 30.0], layer=1),
    ]
    for axes in comparison(pd.concat([*curated, *random], ignore_index=True)).axes:
        low, high = axes.get_ylim()
        dots = np.concatenate([np.asarray(dots.get_offsets())[:, 1] for dots in axes.collections])
        assert low < dots.min()
        assert dots.max() < high
