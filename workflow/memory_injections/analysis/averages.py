"""Averages of the percent change over prompts, and best sites (paper, section 4).

A mean of per-prompt ratios, such as the paper's headline, is dominated by a few prompts with a tiny `p_obscure`; so
every site is described by four averages together.
"""

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from memory_injections.errors import StudyError

AVERAGES = {
    "mean": "mean",
    "mean_without_top": "mean without the top 1 %",
    "median": "median",
    "ratio_of_means": "ratio of means",
}


def percent_change(cells: pd.DataFrame) -> pd.Series:
    """Return 100 (p_injected - p_obscure) / p_obscure of every cell; missing where p_obscure is zero in float32."""
    before = cells["p_obscure"].astype("float64")
    return 100 * (cells["p_injected"] / before.where(before > 0) - 1)


def average_site(cells: pd.DataFrame) -> pd.Series:
    """Return the four averages of the percent change over the prompts of one site, in percent, and how many improve.

    - mean: of the per-prompt changes
    - mean_without_top: without the largest 1 % of the changes, rounded up to whole prompts
    - median: of the per-prompt changes
    - ratio_of_means: change of the mean probability
    """
    change = percent_change(cells).dropna().sort_values()
    kept = change.iloc[: len(change) * 99 // 100]
    means = cells[["p_obscure", "p_injected"]].astype("float64").mean()
    return pd.Series(
        {
            "mean": change.mean(),
            "mean_without_top": kept.mean(),
            "median": change.median(),
            "ratio_of_means": 100 * (means["p_injected"] / means["p_obscure"] - 1),
            "n_improved": int((change > 0).sum()),
            "n_prompts": len(change),
        }
    )


def average_sites(cells: pd.DataFrame) -> pd.DataFrame:
    """Return `average_site` of every (layer, magnitude), indexed by them."""
    columns = ["p_obscure", "p_injected"]
    table = cells.groupby(["layer", "magnitude"])[columns].apply(average_site)
    return table.astype({"n_improved": int, "n_prompts": int})


def find_best_site(sites: pd.DataFrame, average: str) -> tuple[int, float]:
    """Return the (layer, magnitude) with the highest value of one average."""
    if sites[average].isna().all():
        raise StudyError("every answer has probability zero before injection; check the answers of the data set")
    layer, magnitude = sites[average].idxmax()
    return int(layer), float(magnitude)


def select_site(cells: pd.DataFrame, layer: int, magnitude: float) -> pd.DataFrame:
    """Return the cells of one site; none if the grid does not have it."""
    return cells[(cells["layer"] == layer) & np.isclose(cells["magnitude"], magnitude)]


def compare_pairs(differences: pd.Series) -> float:
    """Return the p-value of Wilcoxon's signed-rank test of paired differences over prompts."""
    return float(wilcoxon(differences).pvalue) if (differences != 0).any() else 1.0
