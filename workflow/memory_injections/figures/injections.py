"""Figures of injections: functions from a table to a matplotlib figure.

A function under `register` is drawn for each of its subjects and shown in the report; its table holds the cells of one
sweep, those of several (column `memories`), or the history of the paper's numbers. Effects are drawn in nats, so that a
probability driven to nothing looks as strong as one multiplied.
"""

import logging
import math

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from memory_injections.analysis.averages import (
    AVERAGES,
    EFFECTS,
    PAPER_AVERAGE,
    average_sites,
    find_best_site,
    measure_effect,
    select_site,
)
from memory_injections.figures.maps import LAYER, LINE, ColorBar, choose_width, draw_site_map, measure_map
from memory_injections.figures.registry import register_figure
from memory_injections.figures.scales import (
    FACTOR_OVER_PERCENT,
    add_percent_axis,
    list_powers,
    name_encoding,
    write_number,
)
from memory_injections.figures.style import COLORS, QUIET, TEXT, start_figure
from memory_injections.sweeps.cells import find_sweep_id
from memory_injections.terms import CURATED

# Seaborn hands numbers over as names of categories on purpose.
logging.getLogger("matplotlib.category").setLevel(logging.WARNING)

DOSES = {"magnitude": "Magnitude", "dose": "Dose (share of\nthe residual stream)"}
# Percent changes of less than this all look like a probability driven to nothing.
LEAST_PERCENT = -99.999


@register_figure(subject="sweep", section="Injections", label="effect by site")
def effect(cells: pd.DataFrame) -> Figure:
    """Effect over layer x magnitude, in nats: the mean over prompts above, the median below."""
    sites, dose = average_sites(cells), find_sweep_id(cells).dose_name
    n_magnitudes, n_layers = sites["effect"].unstack("layer").shape
    height = measure_map(n_magnitudes)
    figure = start_figure(choose_width(n_layers), 2 * (height + 0.85) + 0.5)
    for axes, (average, label) in zip(figure.subplots(2, 1), EFFECTS.items(), strict=True):
        best = draw_site_map(axes, sites[average], DOSES[dose], ColorBar("Effect (nats)", height))
        number = write_number(sites[average].loc[best], "+.2f")
        axes.set_title(f"{label.capitalize()}\n★ best {number} nats at {_name(best, dose)}", loc="left")
    figure.suptitle(_title_sweep(cells))
    return figure


@register_figure(subject="sweep", section="Injections", label="percent change by site, as in the paper")
def change(cells: pd.DataFrame) -> Figure:
    """Percent change over layer x magnitude by the paper's average, coloured by its size in powers of two."""
    percent, dose = average_sites(cells)[PAPER_AVERAGE], find_sweep_id(cells).dose_name
    n_magnitudes, n_layers = percent.unstack("layer").shape
    width = choose_width(n_layers)
    figure = start_figure(width, measure_map(n_magnitudes) + 1.9)
    axes = figure.subplots()
    # Up to a whole power of two, which the end of the scale is labelled with.
    in_nats = _measure_length(percent)
    limit = math.log(2) * max(1, math.ceil(in_nats.abs().max() / math.log(2) - 1e-6))
    powers = [sign * math.log(2) * power for power in (0, 1, 3, 5, 7, 12) for sign in (1, -1)]
    bar = ColorBar("Change of the probability", width - 0.5, FACTOR_OVER_PERCENT, powers, is_below=True)
    best = draw_site_map(axes, in_nats, DOSES[dose], bar, limit)
    number = write_number(percent.loc[best], "+,.1f")
    title = f"{AVERAGES[PAPER_AVERAGE].capitalize()}\n★ best {number} % at {_name(best, dose)}"
    axes.set_title(title, loc="left")
    figure.suptitle(_title_sweep(cells))
    return figure


def _measure_length(percent: pd.Series) -> pd.Series:
    """Return percent changes of a probability in nats, which treat a halved one and a doubled one alike."""
    return np.log1p(percent.clip(lower=LEAST_PERCENT) / 100)


def _name(site: tuple[int, float], dose: str = "magnitude") -> str:
    return f"layer {site[0]}, {dose} {site[1]:g}"


@register_figure(subject="sweep", section="Injections", label="distribution over prompts")
def distribution(cells: pd.DataFrame) -> Figure:
    """Every prompt's effect over the layers, at the magnitude with the best mean effect, mean and median drawn."""
    _, magnitude = find_best_site(average_sites(cells), "effect")
    here = cells[cells["magnitude"] == magnitude].assign(effect=measure_effect)
    layers = sorted(here["layer"].unique())
    figure = start_figure(choose_width(len(layers)), 3.05)
    axes = figure.subplots()
    sns.stripplot(
        here, x="layer", y="effect", order=layers, ax=axes, color="0.6", size=1.6, alpha=0.6, jitter=0.25,
        rasterized=True,
    )  # fmt: skip
    by_layer = here.groupby("layer")["effect"].agg(["mean", "median"])
    for average, color, style in (("mean", COLORS[0], "o-"), ("median", COLORS[1], "D--")):
        axes.plot(
            range(len(layers)), by_layer[average], style, color=color, markerfacecolor="white", label=average, zorder=3
        )
    every = range(0, len(layers), math.ceil(len(layers) / 18))
    axes.set_xticks(every, [f"{layers[place]}" for place in every])
    add_percent_axis(axes, "right", gap=0.07)
    figure.legend(loc="outside lower center", ncols=2)
    axes.set(xlabel=LAYER, ylabel="Effect (nats)")
    figure.suptitle(f"{_title_sweep(cells)}\none dot per prompt, {find_sweep_id(cells).dose_name} {magnitude:g}")
    return figure


@register_figure(subject="encoding", section="Best sites", label="curated against random")
def comparison(cells: pd.DataFrame) -> Figure:
    """Curated against random memories, prompt by prompt, at the curated memories' best sites."""
    sweeps = dict(iter(cells.groupby("memories", sort=False, observed=True)))
    sweeps = {kind: sweeps[kind] for kind in sorted(sweeps, key=lambda kind: kind != CURATED)}
    sites, sweep = average_sites(sweeps[CURATED]), find_sweep_id(sweeps[CURATED])
    figure = start_figure(TEXT, 0.3 * len(sweeps) + 1.5)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, average in zip(panels, ("effect", PAPER_AVERAGE), strict=True):
        site = find_best_site(sites, average)
        _draw_kinds(axes, {kind: select_site(own, *site) for kind, own in sweeps.items()})
        axes.set(xlabel="Effect on the answer's log-probability (nats)", ylabel="")
        axes.set_title(f"Best site by the {({**EFFECTS, **AVERAGES})[average]}:\n{_name(site, sweep.dose_name)}", pad=8)
    panels[0].set_yticks(range(len(sweeps)), [kind.replace("_", " ") for kind in sweeps])
    for axes in panels:
        add_percent_axis(axes, "top", gap=0.2)
    encoding = name_encoding(sweep.encoding, sweep.relative)
    figure.suptitle(f"{sweep.model} on {sweep.dataset}: curated and random memories, {encoding}")
    return figure


def _draw_kinds(axes: Axes, here: dict[str, pd.DataFrame]) -> None:
    """Draw the effects of each kind of memory at one site: a dot for each prompt, and outlines of boxes over them."""
    swept = [own.assign(memories=kind, effect=measure_effect) for kind, own in here.items() if len(own)]
    style = {"data": pd.concat(swept, ignore_index=True), "x": "effect", "y": "memories", "order": list(here)}
    sns.stripplot(**style, ax=axes, color="0.6", size=1.8, alpha=0.5, jitter=0.2, rasterized=True)
    sns.boxplot(
        **style, ax=axes, hue="memories", hue_order=list(here), palette="colorblind", fill=False, linewidth=1.1,
        width=0.6, showfliers=False, legend=False, showmeans=True, zorder=3,
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": "k"},
    )  # fmt: skip
    for position, kind in enumerate(here):
        if here[kind].empty:
            axes.annotate("not swept at this site", (0, position), ha="center", va="center", color=QUIET)


@register_figure(subject="headline", section="Best sites", label="history of the headline")
def headline(history: pd.DataFrame) -> Figure:
    """The paper's numbers by other averages: each site that it reports, one bar for each rule."""
    sites = list(history.groupby(["model", "dataset"], sort=False))
    figure = start_figure(TEXT, sum(LINE * len(rows) + 0.35 for _, rows in sites) + 0.8)
    panels = np.atleast_1d(figure.subplots(len(sites), 1, sharex=True))
    for axes, ((model, dataset), rows) in zip(panels, sites, strict=True):
        colors = [COLORS[1] if rule == PAPER_AVERAGE else COLORS[0] for rule in rows["rule"]]
        bars = axes.barh(rows["label"], _measure_length(rows["value"]), color=colors)
        axes.bar_label(bars, [f"{write_number(value, '+,.1f')} %" for value in rows["value"]], padding=2)
        axes.axvline(0, color=QUIET, linewidth=0.6)
        axes.margins(x=0.2)
        axes.invert_yaxis()
        layer, magnitude, label = rows.iloc[0][["layer", "magnitude", "paper_layer"]]
        axes.set_title(f"{model} on {dataset}, {_name((layer, magnitude))} (the paper's {label:.0f}, {magnitude:g})")
    low, high = panels[0].get_xlim()
    panels[0].xaxis.set_major_locator(FixedLocator(list_powers(low, high, 9)))
    panels[0].xaxis.set_major_formatter(FACTOR_OVER_PERCENT)
    panels[-1].set_xlabel("Change of the answer's probability, as a factor and in percent")
    return figure


def _title_sweep(cells: pd.DataFrame) -> str:
    sweep = find_sweep_id(cells)
    kind = "curated memories" if sweep.memories == CURATED else f"random {sweep.memories.replace('_', ' ')}"
    return f"{sweep.model} on {sweep.dataset}\n{kind}\n{name_encoding(sweep.encoding, sweep.relative)}"
