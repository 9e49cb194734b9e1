"""Figures of mechanisms and side effects: functions from a table of the study to a matplotlib figure.

Their panels are models and data sets in one encoding.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from memory_injections.figures.maps import LAYER
from memory_injections.figures.registry import register_figure
from memory_injections.figures.scales import LOG_BEYOND, PLAIN, name_encoding, use_log_nats
from memory_injections.figures.style import COLORS, QUIET, TEXT, add_legend, start_figure, start_panels

SITES = ["model", "dataset", "encoding", "relative"]


@register_figure(subject="study", table="direct_effects", section="Mechanisms", label="direct and indirect effects")
def direct_effects(effects: pd.DataFrame) -> Figure:
    """Mean effect over the layers, and its direct and indirect parts with their intervals."""
    groups = list(effects.groupby(SITES, sort=False))
    figure, panels = start_panels(len(groups), 2.1)
    for axes, (names, own) in zip(panels, groups, strict=True):
        own = own.sort_values("layer")
        for part, color in zip(("effect", "direct", "indirect"), ("0.2", *COLORS), strict=False):
            axes.plot(own["layer"], own[part], color=color, marker="o", label=part)
            axes.fill_between(
                own["layer"], own[f"{part}_low"], own[f"{part}_high"], color=color, alpha=0.15, linewidth=0
            )
        axes.axhline(0, color=QUIET, linewidth=0.6)
        use_log_nats(axes, gap=0.09)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set(xlabel=LAYER, ylabel=f"Mean (nats,\n{LOG_BEYOND})", title=_name_site(names, own, "magnitude"))
    add_legend(figure, panels)
    return figure


@register_figure(subject="study", table="logit_lens", section="Mechanisms", label="logit lens after the injection")
def logit_lens(blocks: pd.DataFrame) -> Figure:
    """Median rank of answer and memory behind every block from the injection on, without and with the memory."""
    groups = list(blocks.groupby(SITES, sort=False))
    figure, panels = start_panels(len(groups), 2.1)
    for axes, (names, own) in zip(panels, groups, strict=True):
        for (target, here), color in zip(own.groupby("target"), COLORS, strict=False):
            for state, line in (("clean", "--"), ("injected", "-")):
                label = f"{target}, {state}"
                axes.plot(here["block"], 1 + here[f"rank_{state}"], line, color=color, marker="o", label=label)
        axes.set(yscale="log", xlabel="Behind block (from 0)", ylabel="Median rank (from 1)")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.yaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.invert_yaxis()
        axes.set_title(_name_site(names, own, "layer", "magnitude"))
    add_legend(figure, panels)
    return figure


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
