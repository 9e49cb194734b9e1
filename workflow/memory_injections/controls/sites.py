"""The sites at which controls are computed: those that the evidence chooses, and some that have a name."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import PAPER_AVERAGE, average_sites, find_best_site
from memory_injections.analysis.evidence import SweepEffects
from memory_injections.controls.settings import ControlSite

CHOSEN, BEST, REPORTED, CONFIGURED = (
    "chosen most often",
    "best by the paper's average",
    "the paper's",
    "the config's",
)
SITE = ["layer", "magnitude"]


def choose_control_sites(
    cells: pd.DataFrame, groups: pd.Series, seed: int, reported: tuple[int, float] | None, more: Iterable[ControlSite]
) -> pd.DataFrame:
    """List the sites of each prompt, for the cells of a sweep of curated memories.

    Columns: prompt_id, layer, magnitude; `name`, what the site is to the study, for sites of all prompts, and empty for
    others; and `weight`, the share of the divisions into folds in which other clusters choose the site for the prompt,
    as the evidence does (`analysis.evidence.SweepEffects`).
    """
    sweep = SweepEffects.of_cells(cells, groups, seed)
    columns, prompts = sweep.frame.columns, sweep.frame.index
    chosen = pd.DataFrame(
        {"prompt_id": np.repeat(prompts, sweep.chosen.shape[1]), "column": sweep.chosen.ravel()}
    ).value_counts()
    weights = (chosen / sweep.chosen.shape[1]).rename("weight").reset_index()
    weights[SITE] = columns.to_frame(index=False).to_numpy()[weights["column"]]
    named = pd.DataFrame(
        [(*site, name) for site, name in name_sites(cells, sweep, reported, more).items()], columns=[*SITE, "name"]
    )
    everywhere = pd.DataFrame({"prompt_id": prompts}).merge(named, how="cross")
    sites = everywhere.merge(weights.drop(columns="column"), on=["prompt_id", *SITE], how="outer")
    sites = sites.fillna({"weight": 0.0, "name": ""}).astype({"layer": int})
    return sites.sort_values(["prompt_id", *SITE], ignore_index=True)


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
    return {site: ", ".join(own) for site, own in names.items()}
