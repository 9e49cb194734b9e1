"""The paper, the authors' published results and ours side by side, number by number and claim by claim."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .config import CURATED
from .statistics import AVERAGES, at_site, averages_by_site, best_site, site_averages

# The authors ran other versions of the libraries in float32: probabilities that differ by less are the same.
TOLERANCE = 1e-3
KEY = ["prompt_id", "layer", "magnitude"]
COLUMNS = [*KEY, "p_explicit", "p_obscure", "p_injected", "logp_injected"]
PAPER_ENCODING = "unembed"
SCORES = ["model", "dataset", "memories", "encoding", "quantity", "paper", "authors", "ours", "difference"]
AGREEMENT = ["n", "max_difference", "median_difference", "n_beyond"]


@dataclass(frozen=True, order=True)
class SweepName:
    """Which sweep a cell table holds."""

    model: str
    dataset: str
    memories: str
    encoding: str

    @classmethod
    def parse(cls, text: str) -> "SweepName":
        """From `model/dataset/memories.encoding`."""
        model, dataset, sweep = text.split("/")
        return cls(model, dataset, *sweep.rsplit(".", 1))


@dataclass(frozen=True)
class Cells:
    """The cells of a sweep, read when they are needed."""

    path: Path
    site: tuple[int, float] | None = None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns that the scorecard looks at."""
        return pd.read_parquet(self.path, columns=COLUMNS)

    @cached_property
    def sites(self) -> pd.DataFrame:
        """The four averages of every site."""
        return averages_by_site(self.table)

    def averages(self, site: tuple[int, float]) -> dict[str, float]:
        """The four averages at one site; empty if the grid does not have it."""
        here = at_site(self.table, *site)
        return {} if here.empty else {name: float(site_averages(here)[name]) for name in AVERAGES}


def scorecard(
    ours: Mapping[SweepName, Path], authors: Mapping[SweepName, Path], paper: Mapping[str, Any]
) -> pd.DataFrame:
    """Every number that the paper, the authors' files or we have, a row each (columns `SCORES` and `AGREEMENT`).

    `difference` is ours minus the authors'. Where both have the same cells, `max_difference` and `median_difference`
    compare a probability prompt by prompt (and site by site), relative to the authors', and `n_beyond` counts
    differences beyond `TOLERANCE`. Random memories are drawn differently, so only what they share is compared.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted({*ours, *authors}):
        mine, theirs = (Cells(of[name]) if name in of else None for of in (ours, authors))
        for row in _numbers(name, mine, theirs, _paper_site(name, paper)):
            rows.append({**vars(name), **row})
    table = pd.DataFrame(rows, columns=[*SCORES, *AGREEMENT])
    table["difference"] = table["ours"].astype("float64") - table["authors"].astype("float64")
    return table.astype({"n": "Int64", "n_beyond": "Int64"})


def _paper_site(name: SweepName, paper: Mapping[str, Any]) -> tuple[int, float] | None:
    site = paper["sites"].get(name.model, {}).get(name.dataset)
    return (int(site[0]), float(site[1])) if site and name.encoding == PAPER_ENCODING else None


def _numbers(
    name: SweepName, ours: Cells | None, authors: Cells | None, site: tuple[int, float] | None
) -> Iterator[dict[str, Any]]:
    both = {"authors": authors, "ours": ours}
    if name.memories == CURATED:
        for kind in ("explicit", "obscure"):
            prompts = {who: of.table.drop_duplicates("prompt_id")[f"p_{kind}"] for who, of in both.items() if of}
            yield {"quantity": f"mean p_{kind}"} | {who: p.mean() for who, p in prompts.items()}
            yield {"quantity": f"surprisal, {kind} (nats)"} | {who: -np.log(p).mean() for who, p in prompts.items()}
        for average in ("mean", "median"):
            best = {who: best_site(of.sites, average) for who, of in both.items() if of}
            for index, part in enumerate(("layer", "magnitude")):
                by_paper = {"paper": site[index]} if site and average == "mean" else {}
                yield {"quantity": f"{part} of the best {average}", **by_paper} | {
                    who: at[index] for who, at in best.items()
                }
    if site:
        at_paper = {who: of.averages(site) for who, of in both.items() if of}
        for average, label in AVERAGES.items():
            values = {who: found[average] for who, found in at_paper.items() if found}
            yield {"quantity": f"{label} at layer {site[0]}, magnitude {site[1]:g} (%)"} | values
    if ours and authors:
        yield from _agreement(name, ours.table, authors.table)


def _agreement(name: SweepName, ours: pd.DataFrame, authors: pd.DataFrame) -> Iterator[dict[str, Any]]:
    cells = ours.merge(authors, on=KEY, suffixes=("_ours", "_authors"))
    for quantity in ("p_explicit", "p_obscure", *(["p_injected"] if name.memories == CURATED else [])):
        rows = cells if quantity == "p_injected" else cells.drop_duplicates("prompt_id")
        theirs = rows[f"{quantity}_authors"].astype("float64")
        difference = (rows[f"{quantity}_ours"] - theirs).abs() / theirs.where(theirs > 0)
        yield {
            "quantity": f"{quantity}, prompt by prompt (relative)",
            "n": len(rows),
            "max_difference": difference.max(),
            "median_difference": difference.median(),
            "n_beyond": int((difference > TOLERANCE).sum()),
        }


def claims(cells: Mapping[SweepName, Path], paper: Mapping[str, Any]) -> pd.DataFrame:
    """A verdict on each claim of the paper for every model and data set: columns claim, model, dataset, verdict,
    evidence (a sentence with the numbers) and figure (the file that shows them).

    A claim holds if it does both for the mean and for the median over prompts.
    """
    rows = []
    for name in sorted(cells):
        if name.memories == CURATED and name.encoding == PAPER_ENCODING:
            curated = Cells(cells[name], _paper_site(name, paper))
            others = {
                other.memories: Cells(path)
                for other, path in sorted(cells.items())
                if (other.model, other.dataset, other.encoding) == (name.model, name.dataset, name.encoding)
                and other != name
            }
            for row in _claims_of(name, curated, others, paper["headline"]):
                rows.append({"model": name.model, "dataset": name.dataset, **row})
    table = pd.DataFrame(rows, columns=["claim", "model", "dataset", "verdict", "evidence", "figure"])
    return table.sort_values(["claim", "model", "dataset"], kind="stable", ignore_index=True)


def _claims_of(
    name: SweepName, curated: Cells, random: Mapping[str, Cells], headline: float
) -> Iterator[dict[str, str]]:
    of_sweep = f"{name.model}.{name.dataset}.{CURATED}.{name.encoding}.png"
    of_comparison = f"comparison.{name.model}.{name.dataset}.{name.encoding}.png"
    own = best_site(curated.sites, "mean")
    site, whose = own, "its best"
    if curated.site and curated.site in curated.sites.index:
        site, whose = curated.site, "the authors'"
    where = f"at {whose} site, layer {site[0]}, magnitude {site[1]:g}"
    yield {**_explicit_is_better(curated), "figure": "table1.csv"}
    yield {**_curated_helps(curated, site, where), "figure": f"change.{of_sweep}"}
    for memories, cells in random.items():
        if site in cells.sites.index:
            yield {**_beats_random(memories, curated, cells, site, where), "figure": of_comparison}
    yield {**_up_to(curated, own, headline), "figure": f"distribution.{of_sweep}"}
    if curated.site:
        yield {**_best_is_the_authors(curated, curated.site, own), "figure": f"change.{of_sweep}"}


def _explicit_is_better(curated: Cells) -> dict[str, str]:
    prompts = curated.table.drop_duplicates("prompt_id")
    gap = prompts["p_explicit"] - prompts["p_obscure"]
    means = prompts[["p_explicit", "p_obscure"]].mean()
    return {
        "claim": "1. Explicit prompts are answered better than obscure ones",
        "verdict": _verdict(gap.mean() > 0, gap.median() > 0),
        "evidence": f"mean P(answer) {means['p_explicit']:.3g} against {means['p_obscure']:.3g}; "
        f"higher for {int((gap > 0).sum())} of {len(gap)} prompts",
    }


def _curated_helps(curated: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    here = curated.sites.loc[site]
    return {
        "claim": "2. A curated memory makes the answer more probable",
        "verdict": _verdict(here["mean"] > 0, here["median"] > 0),
        "evidence": f"{where}: mean {here['mean']:+.1f} %, median {here['median']:+.1f} %, "
        f"{int(here['n_improved'])} of {int(here['n_prompts'])} prompts improve",
    }


def _beats_random(memories: str, curated: Cells, random: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    here, there = curated.sites.loc[site], random.sites.loc[site]
    after = at_site(curated.table, *site).merge(at_site(random.table, *site), on="prompt_id", suffixes=("", "_random"))
    better = after["p_injected"] > after["p_injected_random"]
    return {
        "claim": f"3. Curated memories do better than random ones ({memories})",
        "verdict": _verdict(here["mean"] > there["mean"], better.mean() > 0.5),
        "evidence": f"{where}: mean {here['mean']:+.1f} % against {there['mean']:+.1f} %, "
        f"median {here['median']:+.1f} % against {there['median']:+.1f} %; "
        f"better for {int(better.sum())} of {len(after)} prompts",
    }


def _up_to(curated: Cells, own: tuple[int, float], headline: float) -> dict[str, str]:
    best = curated.sites.loc[own]
    return {
        "claim": f"4. The answer's probability rises by up to {headline:g} %",
        "verdict": _verdict(best["mean"] >= headline, best["median"] >= headline),
        "evidence": f"the highest mean is {best['mean']:+.1f} %, at layer {own[0]}, magnitude {own[1]:g}, where the "
        f"median is {best['median']:+.1f} % and the mean probability changes by {best['ratio_of_means']:+.1f} %",
    }


def _best_is_the_authors(curated: Cells, site: tuple[int, float], own: tuple[int, float]) -> dict[str, str]:
    by_median = best_site(curated.sites, "median")
    return {
        "claim": "5. The best site is the authors'",
        "verdict": _verdict(own == site, by_median == site),
        "evidence": f"best by mean: layer {own[0]}, magnitude {own[1]:g}; by median: layer {by_median[0]}, "
        f"magnitude {by_median[1]:g}; the authors': layer {site[0]}, magnitude {site[1]:g}",
    }


def _verdict(in_mean: bool, in_median: bool) -> str:
    if in_mean and in_median:
        return "holds"
    return "holds only in the mean" if in_mean else "does not hold"
