"""Scales of effects: nats and powers of two, with percent beside them; and numbers and names as text for people."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from memory_injections.figures.style import QUIET

# Scales are linear within this many nats of zero and logarithmic beyond, and say so.
LINEAR_BELOW = 0.25
LOG_BEYOND = f"log beyond ±{LINEAR_BELOW:g}"
# Changes at which a scale in nats has ticks in percent, those that matter most first.
PERCENTS = (0, 100, -50, 900, -90, 9_900, -99, 99_900, -99.9, -99.99)
# Effects at which a logarithmic scale has ticks, those that matter most first.
ROUND = (0, 1, -1, 10, -10, 0.3, -0.3, 3, -3, 0.1, -0.1, 30, -30, 100, -100)


def write_number(value: float, form: str) -> str:
    """Write a number with the sign that print has for minus; one that rounds to zero has no sign."""
    text = format(value, form)
    return (text if text.strip("+-0.") else text.lstrip("+-")).replace("-", "−")


def name_encoding(encoding: str, relative: bool = False) -> str:
    """Write the encoding of a sweep for people, and whether its doses are relative."""
    return f"encoding: {encoding}{', relative doses' if relative else ''}"


def write_percent(effect: float) -> str:
    """Write an effect in nats as a percent change of the probability."""
    change = 100 * math.expm1(effect)
    return f"{write_number(change, '+,.0f' if change >= 1000 else '+.5g')} %" if abs(change) >= 0.001 else "0 %"


def write_factor(effect: float) -> str:
    """Write an effect in nats that doubles or halves the probability some times as a factor."""
    power = round(effect / math.log(2))
    if abs(power) > 10:
        return f"×2{str(power).translate(_RAISED)}"
    return f"×{2**power:,}" if power >= 0 else f"×1/{2**-power:,}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NATS = FuncFormatter(lambda value, _: write_number(value, "+.3g") if value else "0")
PERCENT = FuncFormatter(lambda value, _: write_percent(value))
FACTOR_OVER_PERCENT = FuncFormatter(lambda value, _: f"{write_factor(value)}\n{write_percent(value)}")
# A logarithmic scale's own labels are formulas, which are not typeset: names in titles may look like ones.
PLAIN = FuncFormatter(lambda value, _: write_number(value, "g"))


def choose_ticks(wanted: Iterable[float], place: Callable[[float], float], gap: float) -> list[float]:
    """Return the ticks for which there is room, those that are wanted first before others.

    `place` puts a value on a scale from 0 to 1; ticks lie within it, at least `gap` apart.
    """
    chosen: list[float] = []
    for tick in wanted:
        at = place(tick)
        if -1e-6 <= at <= 1 + 1e-6 and all(abs(at - place(other)) >= gap for other in chosen):
            chosen.append(tick)
    return sorted(chosen)


def list_powers(low: float, high: float, most: int) -> list[float]:
    """Return effects in nats, no more than `most`, that are whole powers of two between two others; 0 is among them."""
    first, last = math.ceil(min(low, 0) / math.log(2)), math.floor(max(high, 0) / math.log(2))
    step = math.ceil((last - first + 1) / most)
    return [math.log(2) * power for power in range(step * math.ceil(first / step), last + 1, step)]


def add_percent_axis(axes: Axes, side: Literal["right", "top"], gap: float) -> None:
    """Draw the line of no effect, and a second scale in percent beside one in nats: on the right or on the top."""
    if side == "right":
        axes.axhline(0, color=QUIET, linewidth=0.6)
        axes.margins(y=0.08)
        percent, low, high = axes.secondary_yaxis(side), *axes.get_ylim()
    else:
        axes.axvline(0, color=QUIET, linewidth=0.6)
        axes.margins(x=0.08)
        percent, low, high = axes.secondary_xaxis(side), *axes.get_xlim()
    own: Axis = axes.yaxis if side == "right" else axes.xaxis
    own.set_major_formatter(NATS)
    beside: Axis = percent.yaxis if side == "right" else percent.xaxis
    changes = [math.log1p(change / 100) for change in PERCENTS]
    beside.set_major_locator(FixedLocator(choose_ticks(changes, lambda value: (value - low) / (high - low), gap)))
    beside.set_major_formatter(PERCENT)


def use_log_nats(axes: Axes, gap: float, across: Literal["x", "y"] = "y") -> None:
    """Make a scale one in nats, linear near zero and logarithmic beyond, with round ticks at least `gap` apart."""
    axes.set(**{f"{across}scale": SymmetricalLogScale(None, linthresh=LINEAR_BELOW)})
    axis: Axis = axes.xaxis if across == "x" else axes.yaxis
    transform = axis.get_transform()
    bottom, top = transform.transform(np.array(axis.get_view_interval()))
    ticks = choose_ticks(
        ROUND, lambda value: (transform.transform(np.array([value]))[0] - bottom) / (top - bottom), gap
    )
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(NATS)
    axis.set_minor_locator(NullLocator())
