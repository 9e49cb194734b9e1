"""Maps in colour: sites (layer across, magnitude upwards) and attention heads (layer across, head upwards).

Layer 0 is on the left of every map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from memory_injections.analysis.averages import find_best_site, measure_effect
from memory_injections.figures.scales import LINEAR_BELOW, LOG_BEYOND, NATS, ROUND, choose_ticks, write_number
from memory_injections.figures.style import COLUMN, TEXT, start_figure

DIVERGING = "RdBu_r"
LAYER = "Layer (from 0)"
# Inches: height of a line of text with room around it.
LINE = 0.15


def choose_width(n_layers: int) -> float:
    """Return the width of a figure with a place for each layer, in inches: more than a column holds need the text's."""
    return COLUMN if n_layers <= 16 else TEXT


def measure_map(n_rows: int) -> float:
    """Return the height of a map, in inches."""
    return min(max(0.11 * n_rows, 0.8), 2.2)


def draw_grid(axes: Axes, grid: pd.DataFrame, norm: Normalize, ylabel: str, most_ticks: int = 12) -> QuadMesh:
    """Draw a map: layers, the columns of `grid`, across, and its index upwards."""
    mesh = axes.pcolormesh(grid.to_numpy("float64"), cmap=DIVERGING, norm=norm, edgecolors="white", linewidth=0.2)
    for axis, names in ((axes.xaxis, grid.columns), (axes.yaxis, grid.index)):
        every = np.arange(0, len(names), math.ceil(len(names) / most_ticks))
        axis.set_ticks(every + 0.5, [f"{names[place]:g}" for place in every])
    axes.set(xlabel=LAYER, ylabel=ylabel)
    return mesh


def center_on_zero(*grids: pd.DataFrame) -> Normalize:
    """Return a linear scale of colours for maps, as long on both sides of zero."""
    limit = max(*(float(grid.abs().max(axis=None)) for grid in grids), 1e-9)
    return Normalize(-limit, limit)


@dataclass(frozen=True)
class ColorBar:
    """The scale of a map's colours: its label, its length in inches, and the ticks wanted between its ends.

    It stands on the right of the map, or below it where its labels are wide.
    """

    label: str
    length: float
    form: FuncFormatter = NATS
    wanted: Sequence[float] = ROUND
    is_below: bool = False

    def draw(self, mesh: QuadMesh, axes: Axes | Sequence[Axes]) -> None:
        """Draw the scale beside one or more maps, with its ends among the ticks."""
        norm: Any = mesh.norm
        ends = [norm.vmin or 0.0, norm.vmax or 0.0]
        figure = mesh.get_figure(root=True)
        assert figure is not None
        bar = figure.colorbar(
            mesh, ax=axes, pad=0.02, aspect=max(self.length / 0.09, 5), location="bottom" if self.is_below else "right"
        )
        gap = (3.8 * LINE if self.is_below else LINE) / self.length
        bar.set_ticks(choose_ticks([*ends, *self.wanted], lambda value: float(norm(value)), gap))
        bar.ax.minorticks_off()
        bar.long_axis.set_major_formatter(self.form)
        bar.set_label(self.label)
        bar.outline.set_visible(False)


def draw_site_map(axes: Axes, values: pd.Series, ylabel: str, bar: ColorBar, limit: float = 0.0) -> tuple[int, float]:
    """Draw one value for each site, in nats, with a star at the highest; returns the star's site.

    The colours reach to `limit` or to the largest value on both sides of zero.
    """
    grid = values.unstack("layer").sort_index()
    limit = max(float(grid.abs().max(axis=None)), limit, 1e-6)
    mesh = draw_grid(axes, grid, SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit), ylabel)
    if limit > LINEAR_BELOW:
        bar = replace(bar, label=bar.label + (f" ({LOG_BEYOND} nats)" if bar.is_below else f"\n({LOG_BEYOND})"))
    bar.draw(mesh, axes)
    best = find_best_site(values.to_frame("value"), "value")
    star = (grid.columns.get_loc(best[0]) + 0.5, grid.index.get_loc(best[1]) + 0.5)
    axes.scatter(*star, marker="*", s=45, color="black", edgecolor="white", linewidth=0.5)
    return best


def draw_prompt_map(cells: pd.DataFrame, title: str) -> Figure:
    """Draw one prompt's effect over layer x magnitude, in nats; `cells` is the table of a grid (`interactive`)."""
    effects = cells.assign(effect=measure_effect).set_index(["layer", "magnitude"])["effect"]
    n_magnitudes, n_layers = effects.unstack("layer").shape
    height = measure_map(n_magnitudes)
    figure = start_figure(choose_width(n_layers), height + 1.1)
    axes = figure.subplots()
    layer, magnitude = draw_site_map(axes, effects, "Magnitude", ColorBar("Effect (nats)", height))
    best = write_number(effects.loc[layer, magnitude], "+.2f")
    axes.set_title(f"{title}\n★ best {best} nats at layer {layer}, magnitude {magnitude:g}", loc="left")
    return figure
