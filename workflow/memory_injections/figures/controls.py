"""Figures of controls: functions from a table of the study to a matplotlib figure.

Their panels are models and data sets, or one of those in one encoding.
"""

from textwrap import shorten

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memory_injections.figures.maps import LINE
from memory_injections.figures.registry import register_figure
from memory_injections.figures.scales import LOG_BEYOND, NATS, name_encoding, use_log_nats
from memory_injections.figures.style import COLORS, QUIET, add_legend, start_panels

ENCODING = ["encoding", "relative"]
CONTRAST = {"contrast": "effect", "contrast_low": "low", "contrast_high": "high"}
# Characters of a group's name in front of a panel.
LONGEST_LABEL = 36


@register_figure(
    subject="study", table="control_contrasts", section="Controls", label="curated memories against controls"
)
def controls(contrasts: pd.DataFrame) -> Figure:
    """Forest plot: the contrast of curated memories with each control, one panel for each model and data set."""
    groups, names = list(contrasts.groupby(["model", "dataset"], sort=False)), list(contrasts["memories"].unique())
    encodings = list(contrasts[ENCODING].drop_duplicates().itertuples(index=False, name=None))
    figure, panels = start_panels(len(groups), LINE * len(names) * max(len(encodings), 1.5) + 0.5, sharey=True)
    for axes, ((model, dataset), rows) in zip(panels, groups, strict=True):
        axes.axvspan(-rows["margin"].max(), rows["margin"].max(), color="0.93")
        axes.axvline(0, color=QUIET, linewidth=0.6)
        for encoding, own in rows.groupby(ENCODING):
            number = encodings.index(encoding)
            places = own["memories"].map(names.index) + 0.5 * (number - (len(encodings) - 1) / 2) / len(encodings)
            _draw_estimates(axes, own["effect"], places, own, name_encoding(*encoding), COLORS[number], is_across=True)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set(ylim=(len(names) - 0.5, -0.5), title=f"{model} on {dataset}")
        # The answer's own vector lies many nats away: a linear scale would press all else into a line.
        axes.margins(x=0.06)
        use_log_nats(axes, gap=0.15, across="x")
        _say_which_side_is_better(axes)
    if len(encodings) > 1:
        add_legend(figure, panels)
    return figure


def _say_which_side_is_better(axes: Axes) -> None:
    """Write below the ticks what each side of zero means, and below that what the scale measures."""
    for side, (align, text) in enumerate((("left", "← control\nbetter"), ("right", "memory\nbetter →"))):
        axes.annotate(
            text, (side, 0), xycoords="axes fraction", xytext=(0, -16), textcoords="offset points", ha=align, va="top"
        )
    axes.set_xlabel(f"Curated minus control\n(nats, {LOG_BEYOND})", labelpad=24)


@register_figure(subject="study", table="breakdown", section="Evidence", label="effects by group")
def breakdown(groups: pd.DataFrame) -> Figure:
    """Forest plot: the effect of curated memories in each group, and how much more they do than shuffled ones.

    A panel for each column of each model and data set.
    """
    parts = list(groups.groupby(["model", "dataset", "relative", "by"], sort=False))
    tallest = max(len(rows) for _, rows in parts)
    figure, panels = start_panels(len(parts), 1.5 * LINE * tallest + 0.5)
    for axes, ((model, dataset, relative, column), rows) in zip(panels, parts, strict=True):
        axes.axvline(0, color=QUIET, linewidth=0.6)
        places = pd.Series(range(len(rows)), index=rows.index)
        estimates = {
            "memory": rows[["effect", "low", "high"]],
            "memory minus shuffled": rows.filter(like="contrast").rename(columns=CONTRAST),
        }
        for number, (label, own) in enumerate(estimates.items()):
            if own["effect"].notna().any():
                _draw_estimates(axes, own["effect"], places + 0.3 * number, own, label, COLORS[number], is_across=True)
        names = [shorten(f"{row.group} ({row.n_prompts})", LONGEST_LABEL, placeholder="…") for row in rows.itertuples()]
        axes.set_yticks([place + 0.15 for place in places], names)
        doses = ", matched doses" if relative else ""
        axes.set(ylim=(len(rows) - 0.35, -0.5), title=f"{model} on {dataset}\nby {column}{doses}", xlabel="Nats")
        axes.xaxis.set_major_formatter(NATS)
    add_legend(figure, panels)
    return figure


@register_figure(subject="study", table="doses", section="Controls", label="effect by dose")
def doses(effects: pd.DataFrame) -> Figure:
    """Effect over the dose, for curated and shuffled memories and their difference, one panel for each encoding."""
    groups = list(effects.groupby(["model", "dataset", "encoding", "layer"], sort=False))
    kinds = list(effects["control"].unique())
    figure, panels = start_panels(len(groups), 2.1)
    for axes, ((model, dataset, encoding, layer), rows) in zip(panels, groups, strict=True):
        for control, own in rows.groupby("control", sort=False):
            color = COLORS[kinds.index(control)]
            _draw_estimates(axes, own["dose"], own["effect"], own, str(control), color, is_across=False)
        axes.axhline(0, color=QUIET, linewidth=0.6)
        axes.set(
            xscale="log", xlabel="Dose (share of the residual stream)", ylabel=f"Mean effect (nats,\n{LOG_BEYOND})"
        )
        places = sorted(rows["dose"].unique())
        axes.set_xticks(places, [f"{dose:g}" for dose in places])
        axes.minorticks_off()
        use_log_nats(axes, gap=0.09)
        axes.set_title(f"{model} on {dataset}\n{name_encoding(encoding)}, layer {layer}")
    add_legend(figure, panels)
    return figure


def _draw_estimates(
    axes: Axes, x: pd.Series, y: pd.Series, rows: pd.DataFrame, label: str, color: tuple[float, ...], is_across: bool
) -> None:
    """Draw effects as points with their intervals: across, or from left to right on a line."""
    errors = np.abs(rows[["low", "high"]].sub(rows["effect"], axis=0)).to_numpy().T
    bars = {"xerr": errors, "linestyle": ""} if is_across else {"yerr": errors}
    axes.errorbar(x, y, **bars, marker="o", capsize=2, linewidth=1, color=color, label=label)
