"""What the paper reports, and which models and data sets of a study it is about: by what they are, not their names."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from memory_injections.data.prompt_pairs import TEXT_COLUMNS
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import PAPER_ENCODING

# A model and a data set, by name.
Pair = tuple[str, str]
Value = TypeVar("Value")


def digest_pairs(pairs: pd.DataFrame) -> str:
    """Return the SHA-256 of all texts of prompt pairs in their order, without blanks at the ends of a text."""
    rows = [[text.strip() for text in row] for row in pairs[TEXT_COLUMNS].itertuples(index=False)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def identify_as_papers(manifest: Mapping[str, Any], pairs: pd.DataFrame, paper: Mapping[str, Any]) -> Pair | None:
    """Return what the paper calls a model and a data set; None unless both are the paper's or its follow-up's.

    A model is the paper's if it was fetched at the commit that the paper's is known by, and a data set if all of its
    texts are.
    """
    models = [name for name, commit in paper["models"].items() if commit == manifest["revision"]]
    digest = digest_pairs(pairs) if models else ""
    datasets = [name for name, known in paper["datasets"].items() if known["digest"] == digest]
    return (models[0], datasets[0]) if models and datasets else None


def identify_authors(pairs: Mapping[str, pd.DataFrame], paper: Mapping[str, Any]) -> list[Pair]:
    """List the models and data sets of the authors' own files that the paper reports numbers of.

    The files are the authors' by construction. Where a data set is whole, its texts must be the paper's, too.
    """

    def is_papers(dataset: str) -> bool:
        known = paper["datasets"][dataset]
        return dataset in pairs and (
            len(pairs[dataset]) != known["pairs"] or digest_pairs(pairs[dataset]) == known["digest"]
        )

    return [(model, dataset) for model, sites in paper["sites"].items() for dataset in sites if is_papers(dataset)]


def rename_numbers(
    numbers: Mapping[str, Mapping[str, Value]], names: Mapping[Pair, Pair]
) -> dict[str, dict[str, Value]]:
    """Return the paper's numbers, by model and data set, under a study's names; `names` gives the paper's of each."""
    found: dict[str, dict[str, Value]] = {}
    for (model, dataset), (papers_model, papers_dataset) in names.items():
        own = numbers.get(papers_model, {})
        if papers_dataset in own:
            found.setdefault(model, {})[dataset] = own[papers_dataset]
    return found


def select_numbers(paper: Mapping[str, Any], names: Mapping[Pair, Pair]) -> dict[str, Any]:
    """Return what the paper says of a study: its numbers under the study's names.

    `names` gives the paper's names of the models and data sets of the study that are the paper's. They are listed in
    `compared` if they have the same names in both.
    """
    headline = paper["headline"]
    return {
        "headline": {
            **headline,
            "sweeps": [list(own) for own, papers in names.items() if list(papers) in headline["sweeps"]],
        },
        "compared": [list(own) for own, papers in names.items() if own == papers],
        "rules": paper["rules"],
        **{name: rename_numbers(paper[name], names) for name in ("sites", "values")},
    }


def read_numbers(path: Path) -> dict[str, Any]:
    """Read what `select_numbers` returned, from the file that a job wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def find_reported_site(name: SweepId, paper: Mapping[str, Any]) -> tuple[int, float] | None:
    """Return the (layer, magnitude) that the paper reports for a sweep, by indices from 0; None if it reports none."""
    site = paper["sites"].get(name.model, {}).get(name.dataset)
    return (int(site[0]), float(site[1])) if site and name.coding == PAPER_ENCODING else None


def is_as_in_paper(table: pd.DataFrame) -> pd.Series:
    """Mark the rows of a table of sweeps that are injected as in the paper."""
    return (table["encoding"] == PAPER_ENCODING) & ~table["relative"].astype(bool)


def name_site(layer: int, magnitude: float, encoding: str = PAPER_ENCODING, relative: bool = False) -> str:
    """Name a site, with its layer counted from 0, as in all files, and from 1, as in the paper."""
    place = f"layer {layer:.0f} ({layer + 1:.0f} counted from 1), {'dose' if relative else 'magnitude'} {magnitude:g}"
    return place if encoding == PAPER_ENCODING else f"{place}, encoding {encoding}"


def find_reported_value(name: SweepId, paper: Mapping[str, Any]) -> float | None:
    """Return the percent change that the paper reports for a sweep at that site; None if it reports none."""
    return paper["values"].get(name.model, {}).get(name.dataset) if name.coding == PAPER_ENCODING else None
