"""The study's figures: functions from a table to a matplotlib figure.

A function under `register` is drawn for each of its subjects and shown in the report; its table holds the cells of one
sweep, the cells of several (column `memories`), or what heads say of answer and memory (`activations.heads`).
Effects are drawn in nats, so that a probability driven to nothing looks as strong as one multiplied.
"""

import logging
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
from matplotlib.ticker import FuncFormatter
from PIL import Image

from memory_injections.analysis.averages import (
    AVERAGES,
    EFFECTS,
    PAPER_AVERAGE,
    average_sites,
    find_best_site,
    measure_effect,
    select_site,
)
from memory_injections.analysis.effects import PRACTICALLY_ZERO
from memory_injections.checksums import is_intact
from memory_injections.pages.registry import register
from memory_injections.sweeps.cells import find_sweep_id
from memory_injections.terms import CURATED, PROMPT_KINDS

mpl.use("agg")
# Seaborn hands numbers over as names of categories on purpose.
logging.getLogger("matplotlib.category").setLevel(logging.WARNING)
# Names of models, data sets and words are text: a dollar sign starts no formula.
mpl.rcParams["text.parse_math"] = False

# The key of the text in a PNG that says what it was drawn of.
MARK = "Source"
DIVERGING = "RdBu_r"
LAYER = "layer (from 0)"
AXES = {"magnitude": "magnitude", "dose": "dose (share of\nthe residual stream)"}
EFFECT = "effect on the answer's log-probability (nats)"
# Scales are linear within this many nats of zero and logarithmic beyond.
LINEAR_BELOW = 0.25
# Changes at which a scale in nats has ticks in percent.
PERCENTS = (-99.99, -99.9, -99, -90, -50, 0, 100, 900, 9_900, 99_900)
NATS = FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0")
PERCENT = FuncFormatter(lambda value, _: f"{100 * math.expm1(value):+,.5g} %" if value else "0")
# For its own ticks, seaborn draws the whole figure to see which labels overlap: 400 MB and a second for each panel.
OWN_TICKS = {"xticklabels": False, "yticklabels": False}


@register(subject="sweep", section="Injections", label="effect by site")
def effect(cells: pd.DataFrame) -> Figure:
    """Effect over layer x magnitude, in nats: the mean over prompts above, the median below."""
    sites = average_sites(cells)
    shape = sites["effect"].unstack("layer").shape
    figure = Figure(figsize=(max(6.5, 0.36 * shape[1] + 2.5), 2 * (0.34 * shape[0] + 1.5)), layout="constrained")
    for axes, (average, label) in zip(figure.subplots(2, 1), EFFECTS.items(), strict=True):
        ticks = [-10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10]
        best = _draw_site_map(axes, sites[average], NATS, f"{label} (nats)", ticks)
        axes.set(ylabel=AXES[find_sweep_id(cells).dose_name])
        axes.set_title(
            f"{label}: best {sites[average].loc[best]:+.2f} nats at {_name(best, find_sweep_id(cells).dose_name)}"
        )
    figure.suptitle(_title_sweep(cells))
    return figure


@register(subject="sweep", section="Injections", label="percent change by site, as in the paper")
def change(cells: pd.DataFrame) -> Figure:
    """Percent change over layer x magnitude by the paper's average, coloured by its size in nats."""
    percent = average_sites(cells)[PAPER_AVERAGE]
    in_nats = np.log1p(percent.clip(lower=-99.999) / 100)
    shape = percent.unstack("layer").shape
    figure = Figure(figsize=(max(6.5, 0.36 * shape[1] + 2.5), 0.34 * shape[0] + 2.1), layout="constrained")
    axes = figure.subplots()
    ticks = [math.log1p(value / 100) for value in (-99, -90, -50, -20, 0, 25, 100, 900)]
    best = _draw_site_map(axes, in_nats, PERCENT, "change of the answer's probability", ticks)
    axes.set(ylabel=AXES[find_sweep_id(cells).dose_name])
    axes.set_title(
        f"{AVERAGES[PAPER_AVERAGE]}: best {percent.loc[best]:+.1f} % at {_name(best, find_sweep_id(cells).dose_name)}"
    )
    figure.suptitle(_title_sweep(cells))
    return figure


def _draw_site_map(
    axes: Axes, values: pd.Series, number: FuncFormatter, label: str, ticks: Sequence[float]
) -> tuple[int, float]:
    """Draw one value for each site, in nats, with a star at the highest; returns the star's site."""
    grid = values.unstack("layer").sort_index(ascending=False)
    limit = max(float(grid.abs().max(axis=None)), 1e-6)
    sns.heatmap(
        grid, ax=axes, cmap=DIVERGING, norm=SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit), linewidths=0.3,
        cbar_kws={"label": label, "format": number, "ticks": [tick for tick in ticks if abs(tick) <= limit]},
        **OWN_TICKS,
    )  # fmt: skip
    best = find_best_site(values.to_frame("value"), "value")
    star = (grid.columns.get_loc(best[0]) + 0.5, grid.index.get_loc(best[1]) + 0.5)
    axes.scatter(*star, marker="*", s=110, color="black", edgecolor="white", linewidth=0.8)
    axes.set(xlabel=LAYER)
    axes.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns)
    axes.set_yticks(np.arange(len(grid)) + 0.5, [f"{value:g}" for value in grid.index])
    return best


def _name(site: tuple[int, float], dose: str = "magnitude") -> str:
    return f"layer {site[0]}, {dose} {site[1]:g}"


def _add_percent_axis(axes: Axes) -> None:
    """Draw the line of no effect, and a second scale in percent to the right of one in nats."""
    axes.axhline(0, color="0.4", linewidth=1)
    axes.margins(y=0.08)
    axes.yaxis.set_major_formatter(NATS)
    percent = axes.secondary_yaxis("right")
    percent.set_yticks(_choose_percent_ticks(*axes.get_ylim()))
    percent.yaxis.set_major_formatter(PERCENT)


def _choose_percent_ticks(low: float, high: float) -> list[float]:
    """Return round percent changes between two effects, in nats, with room between them; zero is among them."""
    ticks = [0.0]
    for value in sorted(PERCENTS, key=abs):
        tick = math.log1p(value / 100)
        if low <= tick <= high and min(abs(tick - other) for other in ticks) > (high - low) / 15:
            ticks.append(tick)
    return ticks


@register(subject="sweep", section="Injections", label="distribution over prompts")
def distribution(cells: pd.DataFrame) -> Figure:
    """Every prompt's effect over the layers, at the magnitude with the best mean effect, mean and median drawn."""
    _, magnitude = find_best_site(average_sites(cells), "effect")
    here = cells[np.isclose(cells["magnitude"], magnitude)].assign(effect=measure_effect)
    layers = sorted(here["layer"].unique())
    figure = Figure(figsize=(max(6.5, 0.36 * len(layers) + 2.5), 4.6), layout="constrained")
    axes = figure.subplots()
    colors = sns.color_palette("colorblind")
    sns.stripplot(here, x="layer", y="effect", order=layers, ax=axes, color="0.55", size=3, alpha=0.6, jitter=0.25)
    by_layer = here.groupby("layer")["effect"].agg(["mean", "median"])
    for average, color, marker in (("mean", colors[0], "o"), ("median", colors[1], "D")):
        axes.plot(
            range(len(layers)), by_layer[average], color=color, marker=marker, markersize=4, label=average, zorder=3
        )
    _add_percent_axis(axes)
    figure.legend(title="over prompts", loc="outside right center")  # beyond the labels in percent
    axes.set(xlabel=LAYER, ylabel=EFFECT)
    figure.suptitle(f"{_title_sweep(cells)}\none dot per prompt, {find_sweep_id(cells).dose_name} {magnitude:g}")
    return figure


@register(subject="encoding", section="Best sites", label="curated against random")
def comparison(cells: pd.DataFrame) -> Figure:
    """Curated against random memories, prompt by prompt, at the curated memories' best sites."""
    sweeps = dict(iter(cells.groupby("memories", sort=False, observed=True)))
    sweeps = {kind: sweeps[kind] for kind in sorted(sweeps, key=lambda kind: kind != CURATED)}
    sites = average_sites(sweeps[CURATED])
    figure = Figure(figsize=(max(7.0, 2.6 * len(sweeps) + 2), 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, average in zip(panels, ("effect", PAPER_AVERAGE), strict=True):
        site = find_best_site(sites, average)
        here = {kind: select_site(own, *site) for kind, own in sweeps.items()}
        swept = [own.assign(memories=kind, effect=measure_effect) for kind, own in here.items() if len(own)]
        table = pd.concat(swept, ignore_index=True)
        style = {"data": table, "x": "memories", "y": "effect", "order": list(here), "ax": axes}
        sns.boxplot(
            **style, hue="memories", hue_order=list(here), palette="colorblind", showfliers=False, width=0.5,
            legend=False, showmeans=True, meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "k"},
        )  # fmt: skip
        sns.stripplot(**style, color="0.25", size=3, alpha=0.6, jitter=0.2)
        for position, kind in enumerate(here):
            if here[kind].empty:
                axes.annotate("not swept\nat this site", (position, 0), ha="center", va="bottom", color="0.4")
        axes.set(xlabel="memories", ylabel=EFFECT)
        axes.set_title(
            f"best site by the {({**EFFECTS, **AVERAGES})[average]}:\n{_name(site, find_sweep_id(cells).dose_name)}"
        )
    for axes in panels:
        _add_percent_axis(axes)
    sweep = find_sweep_id(cells)
    figure.suptitle(
        f"{sweep.model} on {sweep.dataset}, curated against random memories, encoding: {sweep.encoding}\n"
        "box: quartiles and median, diamond: mean, dot: prompt"
    )
    return figure


@register(subject="study", table="control_contrasts", section="Controls", label="curated memories against controls")
def controls(contrasts: pd.DataFrame) -> Figure:
    """Forest plot: the contrast of curated memories with each control, one panel for each model and data set."""
    panels, names = list(contrasts.groupby(["model", "dataset"], sort=False)), list(contrasts["memories"].unique())
    figure = Figure(figsize=(7.5, len(panels) * (0.42 * len(names) + 1.1) + 0.6), layout="constrained")
    for axes, ((model, dataset), rows) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
        axes.axvspan(-PRACTICALLY_ZERO, PRACTICALLY_ZERO, color="0.93")
        axes.axvline(0, color="0.4", linewidth=1)
        encodings = list(rows.groupby("encoding"))
        for number, (encoding, own) in enumerate(encodings):
            places = own["memories"].map(names.index) + 0.5 * (number - (len(encodings) - 1) / 2) / len(encodings)
            _draw_estimates(axes, own["effect"], places, own, encoding, is_across=True)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set(ylim=(len(names) - 0.5, -0.5), title=f"{model} on {dataset}", xlabel="curated minus control (nats)")
        axes.xaxis.set_major_formatter(NATS)
        axes.legend(title="encoding", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@register(subject="study", table="doses", section="Controls", label="effect by dose")
def doses(effects: pd.DataFrame) -> Figure:
    """Effect over the dose, for curated and shuffled memories and their difference, one panel for each encoding."""
    panels = list(effects.groupby(["model", "dataset", "encoding", "layer"], sort=False))
    figure = Figure(figsize=(7.5, 3.2 * len(panels) + 0.3), layout="constrained")
    for axes, (names, rows) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
        for control, own in rows.groupby("control", sort=False):
            _draw_estimates(axes, own["dose"], own["effect"], own, control, is_across=False)
        axes.axhline(0, color="0.4", linewidth=1)
        axes.set(xscale="log", xlabel="dose (share of the residual stream)", ylabel="mean effect (nats)")
        places = sorted(rows["dose"].unique())
        axes.set_xticks(places, [f"{dose:g}" for dose in places])
        axes.minorticks_off()
        axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axes.yaxis.set_major_formatter(NATS)
        axes.set_title("{} on {}, encoding: {}, layer {}".format(*names))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_estimates(axes: Axes, x: pd.Series, y: pd.Series, rows: pd.DataFrame, label: str, is_across: bool) -> None:
    """Draw effects as points with their intervals: across, or from left to right on a line."""
    errors = np.abs(rows[["low", "high"]].sub(rows["effect"], axis=0)).to_numpy().T
    bars = {"xerr": errors, "linestyle": ""} if is_across else {"yerr": errors}
    axes.errorbar(x, y, **bars, marker="o", markersize=4, capsize=3, linewidth=1.3, label=label)


@register(subject="headline", section="Best sites", label="history of the headline")
def headline(history: pd.DataFrame) -> Figure:
    """The paper's numbers by other averages: each site that it reports, one bar for each rule."""
    sites = list(history.groupby(["model", "dataset"], sort=False))
    figure = Figure(figsize=(8, 2.6 * len(sites) + 0.3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(sites), 1, sharex=True))
    for axes, ((model, dataset), rows) in zip(panels, sites, strict=True):
        lengths = np.log1p(rows["value"].clip(lower=-99.999) / 100)
        colors = np.where(rows["rule"] == PAPER_AVERAGE, "C1", "C0")
        bars = axes.barh(rows["label"], lengths, color=colors)
        axes.bar_label(bars, [f"{value:+,.1f} %" for value in rows["value"]], padding=3, fontsize=8)
        axes.axvline(0, color="0.4", linewidth=1)
        axes.margins(x=0.2)
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize=8)
        layer, magnitude, label = rows.iloc[0][["layer", "magnitude", "paper_layer"]]
        axes.set_title(
            f"{model} on {dataset}, {_name((layer, magnitude))} (the paper's {label:.0f}, {magnitude:g})", fontsize=10
        )
    low, high = panels[0].get_xlim()
    ticks = [math.log1p(value / 100) for value in (-99, -90, -50, 0, 100, 400, 900, 9_900)]
    panels[0].set_xticks([tick for tick in ticks if low <= tick <= high])
    panels[0].xaxis.set_major_formatter(PERCENT)
    panels[-1].set_xlabel("change of the answer's probability, on a scale even in nats")
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


def draw_note(text: str) -> Figure:
    """Draw a sentence in place of a figure."""
    figure = Figure(figsize=(6.5, 1.2), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", color="0.4")
    return figure


def save_figure(figure: Figure, png: Path, pdf: Path, mark: str) -> None:
    """Write a figure as PNG and as PDF, without the time of writing; `mark` says in the PNG what it was drawn of."""
    figure.savefig(pdf, metadata={"CreationDate": None})
    figure.set_layout_engine("none")  # its parts stay where they are: finding their places takes longer than drawing
    figure.savefig(png, dpi=150, metadata={MARK: mark})


def is_drawn(png: Path, pdf: Path, mark: str) -> bool:
    """Return whether both files are as `save_figure` wrote them with this mark, and finished by their job."""
    if not (is_intact(png) and is_intact(pdf)):
        return False
    with Image.open(png) as image:
        return image.info.get(MARK) == mark
