"""The study's figures: functions from a table to a matplotlib figure.

A function under `register` is drawn for each of its subjects and shown in the report; its table holds the cells of one
sweep, the cells of several (column `memories`), or what heads say of answer and memory (`activations.heads`).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

from memory_injections.analysis.averages import AVERAGES, average_sites, find_best_site, measure_change, select_site
from memory_injections.pages.registry import register
from memory_injections.sweeps.cells import find_sweep_id
from memory_injections.terms import CURATED, PROMPT_KINDS

mpl.use("agg")


DIVERGING = "RdBu_r"
CHANGE = "change of the answer's probability (%)"
LINEAR_BELOW = 10.0
PERCENT = FuncFormatter(lambda value, _: f"{value:+,.4g} %" if value else "0")
# For its own ticks, seaborn draws the whole figure to see which labels overlap: 400 MB and a second for each panel.
OWN_TICKS = {"xticklabels": False, "yticklabels": False}


@register(subject="sweep", section="Injections", label="change by site")
def change(cells: pd.DataFrame) -> Figure:
    """Percent change over layer x magnitude: the mean over prompts above, the median below.

    The colour scale is centred at zero, linear up to 10 % and logarithmic beyond, so that a few extreme sites neither
    bleach the rest nor run into each other. A star marks the highest value.
    """
    sites = average_sites(cells)
    shape = sites["mean"].unstack("layer").shape
    figure = Figure(figsize=(max(6.5, 0.36 * shape[1] + 2.5), 2 * (0.34 * shape[0] + 1.5)), layout="constrained")
    for axes, average in zip(figure.subplots(2, 1), ("mean", "median"), strict=True):
        grid = sites[average].unstack("layer").sort_index(ascending=False)
        limit = max(float(grid.abs().max(axis=None)), 1e-6)
        sns.heatmap(
            grid, ax=axes, cmap=DIVERGING, norm=SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit), linewidths=0.3,
            cbar_kws={"label": f"{average} change", "format": PERCENT}, **OWN_TICKS,
        )  # fmt: skip
        layer, magnitude = find_best_site(sites, average)
        star = (grid.columns.get_loc(layer) + 0.5, grid.index.get_loc(magnitude) + 0.5)
        axes.scatter(*star, marker="*", s=110, color="black", edgecolor="white", linewidth=0.8)
        axes.set(xlabel="layer", ylabel="magnitude")
        axes.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns)
        axes.set_yticks(np.arange(len(grid)) + 0.5, [f"{value:g}" for value in grid.index])
        axes.set_title(f"{average}: best {grid.max(axis=None):+.1f} % at layer {layer}, magnitude {magnitude:g}")
    figure.suptitle(_title_sweep(cells))
    return figure


def _scale_percent_axis(axes: Axes) -> None:
    """Scale an axis symmetrically and logarithmically: changes run from -100 % to many thousands."""
    axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
    axes.autoscale(axis="y")
    axes.margins(y=0.08)
    axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR_BELOW))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.axhline(0, color="0.4", linewidth=1)


@register(subject="sweep", section="Injections", label="distribution over prompts")
def distribution(cells: pd.DataFrame) -> Figure:
    """Every prompt's percent change over the layers, at the magnitude with the best median, median and mean drawn."""
    _, magnitude = find_best_site(average_sites(cells), "median")
    here = cells[np.isclose(cells["magnitude"], magnitude)].assign(change=measure_change)
    layers = sorted(here["layer"].unique())
    figure = Figure(figsize=(max(6.5, 0.36 * len(layers) + 2.5), 4.6), layout="constrained")
    axes = figure.subplots()
    colors = sns.color_palette("colorblind")
    sns.stripplot(here, x="layer", y="change", order=layers, ax=axes, color="0.55", size=3, alpha=0.6, jitter=0.25)
    by_layer = here.groupby("layer")["change"].agg(["median", "mean"])
    for average, color, marker in (("median", colors[0], "o"), ("mean", colors[1], "D")):
        axes.plot(range(len(layers)), by_layer[average], color=color, marker=marker, markersize=4, label=average)
    _scale_percent_axis(axes)
    axes.legend(title="over prompts", loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set(xlabel="layer", ylabel=CHANGE, title=f"{_title_sweep(cells)}\none dot a prompt, magnitude {magnitude:g}")
    return figure


@register(subject="encoding", section="Best sites", label="curated against random")
def comparison(cells: pd.DataFrame) -> Figure:
    """Curated against random memories, prompt by prompt, at the curated memories' best sites (by mean and median)."""
    sweeps = dict(iter(cells.groupby("memories", sort=False, observed=True)))
    sweeps = {kind: sweeps[kind] for kind in sorted(sweeps, key=lambda kind: kind != CURATED)}
    sites = average_sites(sweeps[CURATED])
    figure = Figure(figsize=(max(7.0, 2.6 * len(sweeps) + 2), 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, average in zip(panels, ("mean", "median"), strict=True):
        layer, magnitude = find_best_site(sites, average)
        here = {kind: select_site(own, layer, magnitude) for kind, own in sweeps.items()}
        swept = [own.assign(memories=kind, change=measure_change) for kind, own in here.items() if len(own)]
        table = pd.concat(swept, ignore_index=True)
        style = {"data": table, "x": "memories", "y": "change", "order": list(here), "ax": axes}
        sns.boxplot(
            **style, hue="memories", hue_order=list(here), palette="colorblind", showfliers=False, width=0.5,
            legend=False, showmeans=True, meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "k"},
        )  # fmt: skip
        sns.stripplot(**style, color="0.25", size=3, alpha=0.6, jitter=0.2)
        for position, kind in enumerate(here):
            if here[kind].empty:
                axes.annotate("not swept\nat this site", (position, 0), ha="center", va="bottom", color="0.4")
        axes.set(xlabel="memories", ylabel=CHANGE)
        axes.set_title(f"best site by {AVERAGES[average]}:\nlayer {layer}, magnitude {magnitude:g}")
    # The axis is scaled last: seaborn would take means and quartiles of the scaled values.
    for axes in panels:
        _scale_percent_axis(axes)
    sweep = find_sweep_id(cells)
    figure.suptitle(
        f"{sweep.model} on {sweep.dataset}, curated against random memories, encoding: {sweep.encoding}\n"
        "box: quartiles and median, diamond: mean, dot: prompt"
    )
    return figure


@register(subject="heads", section="Attribution", label="heads")
def attribution(targets: pd.DataFrame) -> Figure:
    """Mean logit of answer and memory in every head's output: explicit prompt, obscure prompt and their difference."""
    n_layers, n_heads = (int(targets[name].max()) + 1 for name in ("layer", "head"))
    figure = Figure(figsize=(3 * (0.26 * n_heads + 1.9), 2 * (0.2 * n_layers + 1.5) + 0.3), layout="constrained")
    for row, target in zip(figure.subplots(2, 3), ("answer", "memory"), strict=True):
        _draw_head_maps(row, targets[targets["target"] == target], target)
    first = targets.iloc[0]
    figure.suptitle(f"{first['model']} on {first['dataset']}, answer and memory in every head's output")
    return figure


def _draw_head_maps(row: Sequence[Axes], rated: pd.DataFrame, target: str) -> None:
    means = {kind: _average_by_head(rated[rated["prompt_kind"] == kind]) for kind in PROMPT_KINDS}
    limit = max(float(grid.abs().max(axis=None)) for grid in means.values())
    difference = means["explicit"] - means["obscure"]
    panels = {
        "explicit prompt": (means["explicit"], limit),
        "obscure prompt": (means["obscure"], limit),
        "explicit - obscure": (difference, float(difference.abs().max(axis=None))),
    }
    for axes, (name, (grid, end)) in zip(row, panels.items(), strict=True):
        end = max(end, 1e-9)
        sns.heatmap(
            grid, ax=axes, cmap=DIVERGING, vmin=-end, vmax=end, center=0, linewidths=0.2, **OWN_TICKS,
            cbar_kws={"label": f"mean logit of the {target}"},
        )  # fmt: skip
        axes.invert_yaxis()
        for axis, n in ((axes.yaxis, grid.shape[0]), (axes.xaxis, grid.shape[1])):
            every = np.arange(0, n, math.ceil(n / 16))
            axis.set_ticks(every + 0.5, every)
        axes.set(xlabel="head", ylabel="layer", title=f"{target}, {name}")


def _average_by_head(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby(["layer", "head"])["logit"].mean().unstack("head")


def _title_sweep(cells: pd.DataFrame) -> str:
    sweep = find_sweep_id(cells)
    return f"{sweep.model} on {sweep.dataset}, memories: {sweep.memories}, encoding: {sweep.encoding}"


def save_figure(figure: Figure, png: Path, pdf: Path) -> None:
    """Write a figure as PNG and as PDF, without the time of writing in them."""
    figure.savefig(png, dpi=150)
    figure.savefig(pdf, metadata={"CreationDate": None})
