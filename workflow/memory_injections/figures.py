"""The study's figures; each function returns a matplotlib figure."""

import math

import matplotlib as mpl

mpl.use("agg")

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

from .config import PROMPT_KINDS
from .statistics import AVERAGES, at_site, averages_by_site, best_site, percent_change

DIVERGING = "RdBu_r"
CHANGE = "change of the answer's probability (%)"
LINEAR_BELOW = 10.0
PERCENT = FuncFormatter(lambda value, _: f"{value:+,.4g} %" if value else "0")
# seaborn's own ticks draw the whole figure to find out which labels overlap: 400 MB and a second a panel.
OWN_TICKS = {"xticklabels": False, "yticklabels": False}


def change_heat_map(cells: pd.DataFrame, title: str) -> Figure:
    """Percent change over layer x magnitude: the mean over prompts, as in the paper, and the median below it.

    The colour scale is centred at zero, linear up to 10 % and logarithmic beyond, so that a few extreme sites neither
    bleach the rest nor run into each other. A star marks the highest value.
    """
    sites = averages_by_site(cells)
    shape = sites["mean"].unstack("layer").shape
    figure = Figure(figsize=(max(6.5, 0.36 * shape[1] + 2.5), 2 * (0.34 * shape[0] + 1.5)), layout="constrained")
    for axes, average in zip(figure.subplots(2, 1), ("mean", "median"), strict=True):
        grid = sites[average].unstack("layer").sort_index(ascending=False)
        limit = max(float(grid.abs().max(axis=None)), 1e-6)
        sns.heatmap(
            grid, ax=axes, cmap=DIVERGING, norm=SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit), linewidths=0.3,
            cbar_kws={"label": f"{average} change", "format": PERCENT}, **OWN_TICKS,
        )  # fmt: skip
        layer, magnitude = best_site(sites, average)
        star = (grid.columns.get_loc(layer) + 0.5, grid.index.get_loc(magnitude) + 0.5)
        axes.scatter(*star, marker="*", s=110, color="black", edgecolor="white", linewidth=0.8)
        axes.set(xlabel="layer", ylabel="magnitude")
        axes.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns)
        axes.set_yticks(np.arange(len(grid)) + 0.5, [f"{value:g}" for value in grid.index])
        axes.set_title(f"{average}: best {grid.max(axis=None):+.1f} % at layer {layer}, magnitude {magnitude:g}")
    figure.suptitle(title)
    return figure


def _percent_axis(axes: Axes) -> None:
    """A symmetric logarithmic axis: changes run from -100 % to many thousands."""
    axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
    axes.autoscale(axis="y")
    axes.margins(y=0.08)
    axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR_BELOW))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.axhline(0, color="0.4", linewidth=1)


def distribution(cells: pd.DataFrame, title: str) -> Figure:
    """Every prompt's percent change over the layers, at the magnitude with the best median, median and mean drawn."""
    _, magnitude = best_site(averages_by_site(cells), "median")
    here = cells[np.isclose(cells["magnitude"], magnitude)].assign(change=percent_change)
    layers = sorted(here["layer"].unique())
    figure = Figure(figsize=(max(6.5, 0.36 * len(layers) + 2.5), 4.6), layout="constrained")
    axes = figure.subplots()
    colors = sns.color_palette("colorblind")
    sns.stripplot(here, x="layer", y="change", order=layers, ax=axes, color="0.55", size=3, alpha=0.6, jitter=0.25)
    by_layer = here.groupby("layer")["change"].agg(["median", "mean"])
    for average, color, marker in (("median", colors[0], "o"), ("mean", colors[1], "D")):
        axes.plot(range(len(layers)), by_layer[average], color=color, marker=marker, markersize=4, label=average)
    _percent_axis(axes)
    axes.legend(title="over prompts", loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set(xlabel="layer", ylabel=CHANGE, title=f"{title}\none dot a prompt, magnitude {magnitude:g}")
    return figure


def comparison(sweeps: dict[str, pd.DataFrame], curated: str, title: str) -> Figure:
    """Curated against random memories, prompt by prompt, at the curated memories' best sites (by mean and median)."""
    sites = averages_by_site(sweeps[curated])
    figure = Figure(figsize=(max(7.0, 2.6 * len(sweeps) + 2), 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, average in zip(panels, ("mean", "median"), strict=True):
        layer, magnitude = best_site(sites, average)
        here = {kind: at_site(cells, layer, magnitude) for kind, cells in sweeps.items()}
        swept = [cells.assign(memories=kind, change=percent_change) for kind, cells in here.items() if len(cells)]
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
    # On a bent axis seaborn would take means and quartiles of the bent values.
    for axes in panels:
        _percent_axis(axes)
    figure.suptitle(f"{title}\nbox: quartiles and median, diamond: mean, dot: prompt")
    return figure


def attribution_heat_map(targets: pd.DataFrame, target: str, title: str) -> Figure:
    """Mean logit of the answer or memory in every head's output: explicit, obscure and their difference."""
    chosen = targets[targets["target"] == target]
    means = {kind: _layer_by_head(chosen[chosen["prompt_kind"] == kind]) for kind in PROMPT_KINDS}
    shape = means["explicit"].shape
    figure = Figure(figsize=(3 * (0.26 * shape[1] + 1.9), 0.2 * shape[0] + 1.8), layout="constrained")
    limit = max(float(grid.abs().max(axis=None)) for grid in means.values())
    difference = means["explicit"] - means["obscure"]
    panels = {
        "explicit prompt": (means["explicit"], limit),
        "obscure prompt": (means["obscure"], limit),
        "explicit - obscure": (difference, float(difference.abs().max(axis=None))),
    }
    for axes, (name, (grid, end)) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        end = max(end, 1e-9)
        sns.heatmap(
            grid, ax=axes, cmap=DIVERGING, vmin=-end, vmax=end, center=0, linewidths=0.2, **OWN_TICKS,
            cbar_kws={"label": f"mean logit of the {target}"},
        )  # fmt: skip
        axes.invert_yaxis()
        for axis, n in ((axes.yaxis, shape[0]), (axes.xaxis, shape[1])):
            every = np.arange(0, n, math.ceil(n / 16))
            axis.set_ticks(every + 0.5, every)
        axes.set(xlabel="head", ylabel="layer", title=name)
    figure.suptitle(title)
    return figure


def _layer_by_head(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby(["layer", "head"])["logit"].mean().unstack("head")


def save(figure: Figure, png: str, pdf: str) -> None:
    """Write a figure as PNG and as PDF, without the time of writing in them."""
    figure.savefig(png, dpi=150)
    figure.savefig(pdf, metadata={"CreationDate": None})
