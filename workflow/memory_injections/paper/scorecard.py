"""The paper, the authors' published results and ours side by side, number by number."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import AVERAGES, EFFECTS, PAPER_AVERAGE, average_sites, find_best_site
from memory_injections.paper.reported import find_reported_site, find_reported_value, name_site
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED

# The authors used other versions of the libraries, in float32: probabilities that differ by less count as equal.
TOLERANCE = 1e-3
KEY = ["prompt_id", "layer", "magnitude"]
COLUMNS = [*KEY, "memory", "p_explicit", "p_obscure", "p_injected", "logp_obscure", "logp_injected"]
SCORES = ["model", "dataset", "memories", "encoding", "relative", "quantity", "paper", "authors", "ours", "difference"]
LABELS = {**AVERAGES, **EFFECTS}
AGREEMENT = ["n", "max_difference", "median_difference", "n_beyond"]


class Cells:
    """The cells of a sweep, with what the scorecard asks of them."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    @classmethod
    def read(cls, path: Path) -> "Cells":
        """Read a table of cells."""
        return cls(pd.read_parquet(path, columns=COLUMNS))

    @cached_property
    def sites(self) -> pd.DataFrame:
        """The averages of every site."""
        return average_sites(self.table)

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """One row for each prompt, with what does not depend on the site."""
        return self.table.drop_duplicates("prompt_id").set_index("prompt_id")


def build_scorecard(
    ours: Mapping[SweepId, Path], authors: Mapping[SweepId, Path], paper: Mapping[str, Any]
) -> pd.DataFrame:
    """List every number that the paper, the authors' files or this study has (columns `SCORES` and `AGREEMENT`).

    `difference` is ours minus the authors', on the prompts and sites that both have. Probabilities are compared prompt
    by prompt too (p_injected also site by site), relative to the authors': `n` of them, `max_difference`,
    `median_difference`, and `n_beyond`, the number of differences beyond `TOLERANCE`. A prompt is in both if row number
    and memory are the same. Random memories are drawn differently: only their averages stand side by side.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted({*ours, *authors}):
        sides = {who: Cells.read(of[name]) for who, of in (("authors", authors), ("ours", ours)) if name in of}
        rows += [{**vars(name), **row} for row in _compare_numbers(name, sides, paper)]
    return pd.DataFrame(rows, columns=[*SCORES, *AGREEMENT]).astype({"n": "Int64", "n_beyond": "Int64"})


def _compare_numbers(name: SweepId, sides: Mapping[str, Cells], paper: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    reported = find_reported_site(name, paper)
    shared = _select_shared(sides) if name.memories == CURATED and len(sides) == 2 else {}

    def row(quantity: str, value: Callable[[Cells], float]) -> dict[str, Any]:
        numbers: dict[str, Any] = {who: value(cells) for who, cells in sides.items()}
        if shared:
            numbers["difference"] = value(shared["ours"]) - value(shared["authors"])
        return {"quantity": quantity, **numbers}

    if name.memories == CURATED:
        for kind in ("explicit", "obscure"):
            yield row(f"mean p_{kind}", partial(_average_p, kind))
            yield row(f"surprisal, {kind} (nats)", partial(_average_surprisal, kind))
        for index, part in enumerate(("layer", "magnitude")):
            if reported:
                yield {"quantity": f"{part} of the site that the authors report", "paper": reported[index]}
            for average in (PAPER_AVERAGE, "effect"):
                best = {who: find_best_site(cells.sites, average)[index] for who, cells in sides.items()}
                yield {"quantity": f"{part} of the best {LABELS[average]}", **best}
    if reported:
        for average, label in LABELS.items():
            unit = "nats" if average in EFFECTS else "%"
            quantity = f"{label} at {name_site(*reported)} ({unit})"
            is_papers = average == PAPER_AVERAGE and name.memories == CURATED
            value = find_reported_value(name, paper) if is_papers else None
            yield {**row(quantity, partial(_average_at, reported, average)), "paper": value}
    if shared:
        yield from _compare_prompts(shared)


def _average_p(kind: str, cells: Cells) -> float:
    return cells.prompts[f"p_{kind}"].mean()


def _average_surprisal(kind: str, cells: Cells) -> float:
    return -np.log(cells.prompts[f"p_{kind}"]).mean()


def _average_at(site: tuple[int, float], average: str, cells: Cells) -> float:
    """Return one average at one site; missing if the grid does not have it."""
    return float(cells.sites[average].get(site, np.nan))


def _select_shared(sides: Mapping[str, Cells]) -> dict[str, Cells]:
    """Return both sides' cells of the prompts and sites that both have; an empty mapping if there are none."""
    key = [*KEY, "memory"]
    both = sides["ours"].table.merge(sides["authors"].table, on=key, suffixes=("_ours", "_authors"))
    values = [column for column in COLUMNS if column not in key]
    return {
        who: Cells(both[[*key, *(f"{value}_{who}" for value in values)]].set_axis([*key, *values], axis=1))
        for who in (sides if len(both) else ())
    }


def _compare_prompts(shared: Mapping[str, Cells]) -> Iterator[dict[str, Any]]:
    for quantity in ("p_explicit", "p_obscure", "p_injected"):
        of = {who: cells.table if quantity == "p_injected" else cells.prompts for who, cells in shared.items()}
        ours, theirs = (of[who][quantity].astype("float64") for who in ("ours", "authors"))
        # An answer with probability zero on one side alone is infinitely far off.
        difference = ((ours - theirs).abs() / theirs).where(ours != theirs, 0)
        yield {
            "quantity": f"{quantity}, prompt by prompt (relative)",
            "n": len(difference),
            "max_difference": difference.max(),
            "median_difference": difference.median(),
            "n_beyond": int((difference > TOLERANCE).sum()),
        }
