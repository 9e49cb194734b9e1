"""Figures of causes and side effects: functions from a table of the study to a matplotlib figure.

Their panels are models and data sets, or one of those in one encoding.
"""

import math

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.stats import spearmanr

from memory_injections.pages.figures import DIVERGING, LINEAR_BELOW, NATS, OWN_TICKS
from memory_injections.pages.registry import register

COLORS = sns.color_palette("colorblind")
SITES = ["model", "dataset", "encoding"]
# A logarithmic scale's own labels are formulas, which are not typeset: names in titles may look like ones.
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


@register(subject="study", table="patching", section="Causes", label="patched heads")
def patching(heads: pd.DataFrame) -> Figure:
    """Every head's effect from the explicit prompt's output, from another pair's, and its attribution, side by side."""
    rows = list(heads.groupby(["model", "dataset"], sort=False))
    n_layers, n_heads = (int(heads[name].max()) + 1 for name in ("layer", "head"))
    size = (3 * (0.26 * n_heads + 2.1), len(rows) * (0.2 * n_layers + 1.7))
    figure = Figure(figsize=size, layout="constrained")
    for panels, (names, own) in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        limit = float(own[["effect", "effect_other"]].abs().max(axis=None))
        rank = spearmanr(own["effect"], own["attribution"]).statistic
        _draw_heads(panels[0], own, "effect", limit, "mean effect (nats)", "own explicit prompt")
        _draw_heads(panels[1], own, "effect_other", limit, "mean effect (nats)", "another pair's")
        end = float(own["attribution"].abs().max())
        label, title = "logit, explicit - obscure", f"attribution (rank correlation {rank:+.2f})"
        _draw_heads(panels[2], own, "attribution", end, label, title)
        panels[0].set_ylabel("{} on {}\nlayer".format(*names))
    return figure


def _draw_heads(axes: Axes, heads: pd.DataFrame, column: str, end: float, label: str, title: str) -> None:
    grid, end = heads.pivot(index="layer", columns="head", values=column), max(end, 1e-9)
    style = {"cmap": DIVERGING, "vmin": -end, "vmax": end, "linewidths": 0.2, **OWN_TICKS}
    sns.heatmap(grid, ax=axes, cbar_kws={"label": label}, **style)
    axes.invert_yaxis()
    for axis, n in ((axes.yaxis, grid.shape[0]), (axes.xaxis, grid.shape[1])):
        every = np.arange(0, n, math.ceil(n / 16))
        axis.set_ticks(every + 0.5, every)
    axes.set(xlabel="head", ylabel="layer")
    axes.set_title(title, fontsize=10)


@register(subject="study", table="direct_effects", section="Causes", label="direct and indirect effects")
def direct_effects(effects: pd.DataFrame) -> Figure:
    """Mean effect over the layers, and its direct and indirect parts with their intervals."""
    rows = list(effects.groupby(SITES, sort=False))
    figure = Figure(figsize=(7.5, 2.9 * len(rows)), layout="constrained")
    for axes, (names, own) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        own = own.sort_values("layer")
        for part, color in zip(("effect", "direct", "indirect"), ("0.2", *COLORS), strict=False):
            axes.plot(own["layer"], own[part], color=color, marker="o", markersize=3.5, label=part)
            axes.fill_between(own["layer"], own[f"{part}_low"], own[f"{part}_high"], color=color, alpha=0.15)
        axes.axhline(0, color="0.4", linewidth=1)
        axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axes.yaxis.set_major_formatter(NATS)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="layer", ylabel="mean (nats)", title=_name_site(names, own, "magnitude"))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@register(subject="study", table="logit_lens", section="Causes", label="logit lens after the injection")
def logit_lens(blocks: pd.DataFrame) -> Figure:
    """Median rank of answer and memory behind every block from the injection on, without and with the memory."""
    rows = list(blocks.groupby(SITES, sort=False))
    figure = Figure(figsize=(7.5, 2.9 * len(rows)), layout="constrained")
    for axes, (names, own) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        for (target, here), color in zip(own.groupby("target"), COLORS, strict=False):
            for state, line in (("clean", "--"), ("injected", "-")):
                style = {"color": color, "marker": "o", "markersize": 3.5, "label": f"{target}, {state}"}
                axes.plot(here["block"], 1 + here[f"rank_{state}"], line, **style)
        axes.set(yscale="log", xlabel="behind block", ylabel="median rank (from 1)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.invert_yaxis()
        axes.set_title(_name_site(names, own, "layer", "magnitude"))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@register(subject="study", table="side_effects", section="Side effects", label="rescued against harm")
def frontier(effects: pd.DataFrame) -> Figure:
    """Share of wrong answers rescued against harm: divergence on other prompts, and perplexity of a neutral text."""
    rows = list(effects.groupby(SITES, sort=False))
    figure = Figure(figsize=(9.5, 3.1 * len(rows)), layout="constrained")
    for panels, (names, own) in zip(figure.subplots(len(rows), 2, squeeze=False, sharey="row"), rows, strict=True):
        own = own.assign(
            rescued=100 * own["n_rescued"] / own["n_missed"].where(own["n_missed"] > 0),
            more=100 * (own["perplexity"] / own["perplexity_clean"] - 1),
        )
        for axes, harm in zip(panels, ("other_kl", "more"), strict=True):
            for (memories, here), color in zip(own.groupby("memories", sort=False), COLORS, strict=False):
                _draw_frontier(axes, here.sort_values("magnitude"), harm, color, memories.replace("_", " "))
        panels[0].set(xscale="log", xlabel="KL(clean || injected) on other prompts (nats)")
        panels[0].set_ylabel("wrong answers rescued (%)")
        panels[1].set_xscale("symlog", linthresh=1)
        panels[1].set_xlabel("change of a neutral text's perplexity (%)")
        panels[0].set_title(_name_site(names, own, "layer"), loc="left")
        for axes in panels:
            axes.xaxis.set_major_formatter(PLAIN)
            axes.xaxis.set_minor_formatter(NullFormatter())
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_frontier(axes: Axes, rows: pd.DataFrame, harm: str, color: tuple[float, ...], label: str) -> None:
    """Draw a line over magnitudes, which stand beside its points."""
    axes.plot(rows[harm], rows["rescued"], color=color, marker="o", markersize=4, label=label)
    for x, y, magnitude in zip(rows[harm], rows["rescued"], rows["magnitude"], strict=True):
        axes.annotate(f"{magnitude:g}", (x, y), xytext=(3, 4), textcoords="offset points", fontsize=7)


def _name_site(names: tuple[str, ...], rows: pd.DataFrame, *columns: str) -> str:
    site = "".join(f", {column} {rows[column].iloc[0]:g}" for column in columns)
    return "{} on {}, encoding: {}".format(*names) + site
