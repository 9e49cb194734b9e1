"""Figures of mechanisms and side effects: functions from a table of the study to a matplotlib figure.

Their panels are models and data sets in one encoding.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.figures.maps import LAYER
from memory_injections.figures.registry import register_figure
from memory_injections.figures.scales import LOG_BEYOND, PLAIN, name_encoding, use_log_nats
from memory_injections.figures.style import COLORS, QUIET, TEXT, add_legend, start_figure
from memory_injections.terms import CURATED, TARGETS

SITES = ["model", "dataset", "encoding", "relative"]
PARTS = {"effect": "0.2", "direct": COLORS[0], "indirect": COLORS[1]}


@register_figure(subject="study", table="direct_effects", section="Mechanisms", label="direct and indirect effects")
def direct_effects(effects: pd.DataFrame) -> Figure:
    """Mean effect with its direct and indirect parts: of curated memories over the layers, and beside controls."""
    groups = list(effects.groupby(SITES, sort=False))
    figure = start_figure(TEXT, 2.3 * len(groups) + 0.4)
    rows = figure.subplots(len(groups), 2, squeeze=False, sharey="row")
    for (over_layers, at_site), (names, own) in zip(rows, groups, strict=True):
        curated = own[own["control"] == CURATED].sort_values("layer")
        compared = own[own["layer"].isin(own.loc[own["control"] != CURATED, "layer"])]
        _draw_over_layers(over_layers, curated)
        _draw_beside_controls(at_site, compared)
        for axes in (over_layers, at_site):
            axes.axhline(0, color=QUIET, linewidth=0.6)
            use_log_nats(axes, gap=0.09)
        over_layers.set_ylabel(f"Mean (nats, {LOG_BEYOND})")
        over_layers.set_title(f"{_name_site(names, own, 'magnitude')}, curated")
        at_site.set_title(f"Beside controls at layer {compared['layer'].iloc[0]:g}")
    add_legend(figure, list(rows.flat))
    return figure


def _draw_over_layers(axes: Axes, own: pd.DataFrame) -> None:
    """Draw the parts of effects over the layers, with bands for their intervals."""
    for part, color in PARTS.items():
        axes.plot(own["layer"], own[part], color=color, marker="o", label=part)
        axes.fill_between(own["layer"], own[f"{part}_low"], own[f"{part}_high"], color=color, alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel(LAYER)


def _draw_beside_controls(axes: Axes, own: pd.DataFrame) -> None:
    """Draw the parts of effects as points with their intervals, those of each control in a place of its own."""
    places = range(len(own))
    for shift, (part, color) in zip((-0.2, 0, 0.2), PARTS.items(), strict=True):
        ends = np.abs(own[[f"{part}_low", f"{part}_high"]].sub(own[part], axis=0)).to_numpy().T
        axes.errorbar(
            [place + shift for place in places], own[part], yerr=ends, fmt="o", capsize=2, linewidth=1, color=color
        )
    names = own["control"].str.replace("_", " ").str.replace(" ", "\n", n=1)
    axes.set_xticks(places, names)
    axes.set_xlim(-0.5, len(own) - 0.5)


@register_figure(subject="study", table="logit_lens", section="Mechanisms", label="logit lens after the injection")
def logit_lens(blocks: pd.DataFrame) -> Figure:
    """Median rank of each target behind every block from the injection on: without it, with memory and controls."""
    groups = list(blocks[blocks["control"] != DIFFERENCE].groupby(SITES, sort=False))
    figure = start_figure(TEXT, 2.1 * len(groups) + 0.4)
    rows = figure.subplots(len(groups), len(TARGETS), squeeze=False, sharey="row")
    for panels, (names, own) in zip(rows, groups, strict=True):
        for axes, (target, label) in zip(panels, TARGETS.items(), strict=True):
            _draw_ranks(axes, own[own["target"] == target])
            axes.set_title(label.capitalize(), loc="left")
        panels[0].set_ylabel("Median rank (from 0)")
        panels[0].set_yscale("symlog", linthresh=1)
        panels[0].set_ylim(panels[0].get_ylim()[1], -0.3)  # the most probable token is on top
        panels[0].yaxis.set_major_formatter(PLAIN)
        panels[0].yaxis.set_minor_formatter(NullFormatter())
        site = _name_site(names, own, "layer", "magnitude")
        panels[0].set_title(f"{site}\n{panels[0].get_title(loc='left')}", loc="left")
    add_legend(figure, list(rows.flat))
    return figure


def _draw_ranks(axes: Axes, own: pd.DataFrame) -> None:
    """Draw a target's ranks behind the blocks: a line without injection, and one for each control."""
    clean = own[own["control"] == CURATED]
    axes.plot(clean["block"], clean["rank_clean"], "--", color=QUIET, label="no injection")
    for (control, here), color in zip(own.groupby("control", sort=False), COLORS, strict=False):
        axes.plot(here["block"], here["rank_injected"], color=color, marker="o", label=str(control).replace("_", " "))
    axes.set_xlabel("Behind block (from 0)")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


@register_figure(subject="study", table="side_effects", section="Side effects", label="rescued against harm")
def frontier(effects: pd.DataFrame) -> Figure:
    """Share of wrong answers rescued against harm: divergence on other prompts, and perplexity of a neutral text."""
    groups = list(effects.groupby(SITES, sort=False))
    kinds = list(effects["memories"].unique())
    figure = start_figure(TEXT, 2.3 * len(groups) + 0.3)
    rows = figure.subplots(len(groups), 2, squeeze=False, sharey="row")
    for panels, (names, own) in zip(rows, groups, strict=True):
        own = own.assign(
            rescued=100 * own["n_rescued"] / own["n_missed"].where(own["n_missed"] > 0),
            more=100 * (own["perplexity"] / own["perplexity_clean"] - 1),
        )
        for axes, harm in zip(panels, ("other_kl", "more"), strict=True):
            for memories, here in own.groupby("memories", sort=False):
                color = COLORS[kinds.index(memories)]
                _draw_frontier(axes, here.sort_values("magnitude"), harm, color, str(memories).replace("_", " "))
        panels[0].set(xscale="log", xlabel="KL(clean || injected) on other prompts (nats)")
        panels[0].set_ylabel("Wrong answers rescued (%)")
        panels[1].set_xscale("symlog", linthresh=1)
        panels[1].set_xlabel("Change of a neutral text's perplexity (%, log beyond ±1)")
        panels[0].set_title(_name_site(names, own, "layer"))
        for axes in panels:
            axes.margins(0.1)
            axes.xaxis.set_major_formatter(PLAIN)
            axes.xaxis.set_minor_formatter(NullFormatter())
    add_legend(figure, list(rows[:, 1]))
    return figure


def _draw_frontier(axes: Axes, rows: pd.DataFrame, harm: str, color: tuple[float, ...], label: str) -> None:
    """Draw a line over magnitudes, which stand beside its points."""
    axes.plot(rows[harm], rows["rescued"], color=color, marker="o", label=label)
    for x, y, magnitude in zip(rows[harm], rows["rescued"], rows["magnitude"], strict=True):
        axes.annotate(f"{magnitude:g}", (x, y), xytext=(2, 3), textcoords="offset points", color=color)


def _name_site(names: tuple[str, str, str, bool], rows: pd.DataFrame, *columns: str) -> str:
    site = "".join(f", {column} {rows[column].iloc[0]:g}" for column in columns)
    model, dataset, encoding, relative = names
    return f"{model} on {dataset}\n{name_encoding(encoding, relative)}{site}"
