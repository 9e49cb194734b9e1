"""Figures of attention heads: functions from a table to a matplotlib figure.

A function's table holds what heads say of answer and memory (`activations.heads`), or what patched heads do.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from memory_injections.figures.maps import ColorBar, center_on_zero, draw_grid
from memory_injections.figures.registry import register_figure
from memory_injections.figures.scales import write_number
from memory_injections.figures.style import TEXT, draw_note, start_figure
from memory_injections.terms import PROMPT_KINDS, TARGETS

# Of the table of patched heads, what is drawn.
COLUMNS = ("effect", "effect_other", "attribution")
NOT_PATCHED = "No head is patched: no answer is more probable after the explicit prompt than after the obscure one."


def measure_heads(n_heads: int) -> float:
    """Return the height of a map of heads, in inches."""
    return min(max(0.075 * n_heads, 0.75), 2.2)


@register_figure(subject="heads", section="Attribution", label="heads")
def attribution(targets: pd.DataFrame) -> Figure:
    """Mean logit of answer and memory in every head's output: explicit prompt, obscure prompt and their difference."""
    height = measure_heads(int(targets["head"].max()) + 1)
    figure = start_figure(TEXT, 3 * (height + 0.45) + 0.7)
    rows = figure.subplots(3, len(TARGETS), sharex=True, sharey=True)
    for column, (target, label) in zip(rows.T, TARGETS.items(), strict=True):
        _draw_head_maps(column, targets[targets["target"] == target], label, height)
    first = targets.iloc[0]
    figure.suptitle(f"{first['model']} on {first['dataset']}: answer and memory in every head's output")
    return figure


def _draw_head_maps(column: Any, rated: pd.DataFrame, label: str, height: float) -> None:
    """Draw the maps of one target, one below the other; both prompts have the same scale."""
    means = {kind: _average_by_head(rated[rated["prompt_kind"] == kind]) for kind in PROMPT_KINDS}
    difference = means["explicit"] - means["obscure"]
    both = center_on_zero(*means.values())
    maps = {
        f"{label.capitalize()},\nexplicit prompt": (means["explicit"], both, "Mean logit"),
        f"{label.capitalize()},\nobscure prompt": (means["obscure"], both, "Mean logit"),
        f"{label.capitalize()},\nexplicit − obscure": (difference, center_on_zero(difference), "Difference"),
    }
    for axes, (title, (grid, norm, shown)) in zip(column, maps.items(), strict=True):
        mesh = draw_grid(axes, grid, norm, "Head", most_ticks=6)
        ColorBar(shown, height, wanted=(0,)).draw(mesh, axes)
        axes.set_title(title)
        axes.label_outer()


def _average_by_head(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby(["head", "layer"])["logit"].mean().unstack("layer")


@register_figure(subject="study", table="patching", section="Mechanisms", label="patched heads")
def patching(heads: pd.DataFrame) -> Figure:
    """Every head's effect from the explicit prompt's output, from another pair's, and its attribution, side by side."""
    rows = list(heads[heads["n_prompts"] > 0].groupby(["model", "dataset"], sort=False))
    if not rows:
        return draw_note(NOT_PATCHED)
    heights = [measure_heads(int(own["head"].max()) + 1) for _, own in rows]
    figure = start_figure(TEXT, sum(heights) + 1.15 * len(rows))
    all_panels = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for panels, height, ((model, dataset), own) in zip(all_panels, heights, rows, strict=True):
        grids = {name: own.pivot(index="head", columns="layer", values=name) for name in COLUMNS}
        effects = center_on_zero(grids["effect"], grids["effect_other"])
        rank = write_number(spearmanr(own["effect"], own["attribution"]).statistic, "+.2f")
        norms = {"effect": effects, "effect_other": effects, "attribution": center_on_zero(grids["attribution"])}
        meshes = {
            name: draw_grid(axes, grids[name], norms[name], "Head", most_ticks=6)
            for axes, name in zip(panels, COLUMNS, strict=True)
        }
        ColorBar("Mean effect (nats)", height, wanted=(0,)).draw(meshes["effect_other"], panels[:2])
        ColorBar("Difference of logits", height, wanted=(0,)).draw(meshes["attribution"], panels[2])
        titles = (
            f"{model} on {dataset}\n{_describe_gap(own.iloc[0])}\nOwn explicit prompt",
            "Another pair's",
            f"Attribution\nrank correlation {rank}",
        )
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, loc="left")
    return figure


def _describe_gap(own: pd.Series) -> str:
    gap = write_number(own["gap"], "+.2f")
    return f"{own['n_prompts']} of the {own['n_positive']} prompts with a gap, {gap} nats on average"
