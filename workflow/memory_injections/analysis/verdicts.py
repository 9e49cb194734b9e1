"""Verdicts on claims about mean effects, by rules that were fixed before the numbers were seen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from memory_injections.analysis.effects import LEVEL

SUPPORTED, OPPOSITE, ZERO, INCONCLUSIVE = "supported", "opposite", "practically zero", "inconclusive"


def combine_p_values(estimates: Sequence[pd.Series]) -> float:
    """Return the p-value of a claim that all of its estimates have to bear out, in the direction of the first.

    Every estimate has p; where a site was chosen, the first one also has p_above or p_below, of the whole grid, because
    the choice of the site rests on it. All of them must be small, so the largest counts; a missing one stays missing.
    """
    grid = "p_above" if estimates[0]["effect"] > 0 else "p_below"
    # The grid's tests are one-sided; a claim can turn out in either direction.
    return float(np.max([min(1, 2 * estimates[0].get(grid, 0)), *(estimate["p"] for estimate in estimates)]))


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of all claims of a study by Holm's method; missing ones stay missing."""
    from statsmodels.stats.multitest import multipletests  # most of a second, which readers of verdicts do without

    adjusted = np.asarray(p_values, dtype="float64")
    known = ~np.isnan(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted.tolist()


def name_verdict(estimates: Sequence[pd.Series], p: float, margin: float) -> str:
    """Return the verdict on a claim from its estimates with their intervals, and its adjusted p-value.

    *supported* if all means are above `margin` (nats), all intervals above zero and p is below 5 %; *opposite* if the
    same holds below zero; *practically zero* if all 99 % intervals lie within the margin of zero, which are two
    one-sided tests of equivalence; else *inconclusive*.
    """

    def list_all(name: str) -> list[float]:
        return [estimate[name] for estimate in estimates]

    effects, lows, highs = map(list_all, ("effect", "low", "high"))
    if np.min(effects) > margin and np.min(lows) > 0 and p < LEVEL:
        return SUPPORTED
    if np.max(effects) < -margin and np.max(highs) < 0 and p < LEVEL:
        return OPPOSITE
    if np.min(list_all("low_99")) > -margin and np.max(list_all("high_99")) < margin:
        return ZERO
    return INCONCLUSIVE
