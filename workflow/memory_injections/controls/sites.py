"""The sites at which controls are computed: those that the evidence chooses, and some that have a name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import PAPER_AVERAGE, SITE, average_sites, find_best_site
from memory_injections.analysis.evidence import SITE_OF_ANY, SweepEffects
from memory_injections.controls.settings import ControlSite

CHOSEN, BEST, REPORTED, CONFIGURED = (
    "chosen most often",
    "best by the paper's average",
    "the paper's",
    "the config's",
)
CHOSEN_OF_ANY = f"{CHOSEN} of all encodings"


def choose_control_sites(
    cells: pd.DataFrame, groups: pd.Series, seed: int, reported: tuple[int, float] | None, more: Iterable[ControlSite]
) -> pd.DataFrame:
    """List the sites of each prompt, for the cells of a sweep of curated memories.

    Columns: prompt_id, layer, magnitude; `name`, what the site is to the study, for sites of all prompts, and empty for
    others; and `weight`, the share of the divisions into folds in which other clusters choose the site for the prompt,
    as the evidence does (`analysis.evidence.SweepEffects`).
    """
    sweep = SweepEffects.of_cells(cells, groups, seed)
    return _list_sites(sweep, name_sites(cells, sweep, reported, more), "weight")


def choose_sites_of_any(cells: pd.DataFrame, groups: pd.Series, seed: int) -> pd.DataFrame:
    """List the sites of each prompt that are chosen among those of all encodings (column `encoding` of the cells).

    Columns: prompt_id, encoding, layer, magnitude, name, and weight_any; the last two as in `choose_control_sites`.
    """
    sweep = SweepEffects.of_cells(cells, groups, seed, SITE_OF_ANY)
    most = sweep.name_chosen()
    return _list_sites(sweep, {tuple(most[name] for name in SITE_OF_ANY): CHOSEN_OF_ANY}, "weight_any")


def _list_sites(sweep: SweepEffects, named: Mapping[tuple[Any, ...], str], weight: str) -> pd.DataFrame:
    """List the sites that the folds choose, with their weights, and those that have a name, for every prompt."""
    columns, prompts, n_divisions = sweep.frame.columns, sweep.frame.index, sweep.chosen.shape[1]
    chosen = pd.DataFrame({"prompt_id": np.repeat(prompts, n_divisions), "column": sweep.chosen.ravel()})
    weights = (chosen.value_counts() / n_divisions).rename(weight).reset_index()
    site = list(columns.names)
    weights[site] = columns.to_frame(index=False).to_numpy()[weights["column"]]
    names = pd.DataFrame([(*place, name) for place, name in named.items()], columns=[*site, "name"])
    everywhere = pd.DataFrame({"prompt_id": prompts}).merge(names, how="cross")
    weights = weights.drop(columns="column").astype(everywhere[site].dtypes)
    sites = everywhere.merge(weights, on=["prompt_id", *site], how="outer").fillna({weight: 0.0, "name": ""})
    return sites.sort_values(["prompt_id", *site], ignore_index=True)


def join_sites(by_encoding: Sequence[pd.DataFrame], of_any: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the sites of each encoding with those that are chosen among all, all with columns encoding and relative."""
    place = ["prompt_id", "encoding", "relative", *SITE]
    sites = pd.concat(by_encoding) if by_encoding else pd.DataFrame(columns=[*place, "name", "weight"])
    if not of_any:
        return sites.assign(weight_any=0.0).reset_index(drop=True)
    both = sites.merge(pd.concat(of_any), on=place, how="outer", suffixes=("", "_any"))
    both = both.fillna({"weight": 0.0, "weight_any": 0.0, "name": "", "name_any": ""})
    names = [", ".join(filter(None, pair)) for pair in zip(both["name"], both["name_any"], strict=True)]
    return both.assign(name=names).drop(columns="name_any")


def name_sites(
    cells: pd.DataFrame, sweep: SweepEffects, reported: tuple[int, float] | None, more: Iterable[ControlSite]
) -> Mapping[tuple[int, float], str]:
    """Return what each site with a name is to the study; one that is several things has all names."""
    most = sweep.name_chosen()
    named = [
        ((most["layer"], most["magnitude"]), CHOSEN),
        (find_best_site(average_sites(cells), PAPER_AVERAGE), BEST),
        *([(reported, REPORTED)] if reported else []),
        *(((site.layer, site.magnitude), CONFIGURED) for site in more),
    ]
    names: dict[tuple[int, float], list[str]] = {}
    for (layer, magnitude), name in named:
        names.setdefault((int(layer), float(magnitude)), []).append(name)
    return {site: ", ".join(known) for site, known in names.items()}
