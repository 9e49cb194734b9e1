"""What the paper reports."""

from collections.abc import Mapping
from typing import Any

from memory_injections.sweeps.identity import SweepId

PAPER_ENCODING = "unembed"


def find_reported_site(name: SweepId, paper: Mapping[str, Any]) -> tuple[int, float] | None:
    """Return the (layer, magnitude) that the paper reports for a sweep, by indices from 0; None if it reports none."""
    site = paper["sites"].get(name.model, {}).get(name.dataset)
    return (int(site[0]), float(site[1])) if site and name.encoding == PAPER_ENCODING else None


def name_site(layer: int, magnitude: float) -> str:
    """Name a site, with its layer counted from 0, as in all files, and from 1, as in the paper."""
    return f"layer {layer:.0f} ({layer + 1:.0f} counted from 1), magnitude {magnitude:g}"


def find_reported_value(name: SweepId, paper: Mapping[str, Any]) -> float | None:
    """Return the percent change that the paper reports for a sweep at that site; None if it reports none."""
    return paper["values"].get(name.model, {}).get(name.dataset) if name.encoding == PAPER_ENCODING else None
