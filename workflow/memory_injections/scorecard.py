"""The paper, the authors' published results and ours side by side, number by number and claim by claim."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .config import CURATED
from .statistics import AVERAGES, at_site, averages_by_site, best_site, paired_p_value

# The authors ran other versions of the libraries in float32: probabilities that differ by less are the same.
TOLERANCE = 1e-3
# What is less likely than this by chance alone, over prompts, is not taken for chance.
LEVEL = 0.05
KEY = ["prompt_id", "layer", "magnitude"]
COLUMNS = [*KEY, "memory", "p_explicit", "p_obscure", "p_injected", "logp_obscure", "logp_injected"]
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

    def beside(self, names: Iterable["SweepName"]) -> list["SweepName"]:
        """The sweeps of other memories of the same model, data set and encoding."""
        return sorted(name for name in names if name != self and replace(name, memories=self.memories) == self)


class Cells:
    """The cells of a sweep, with what the scorecard asks of them."""

    def __init__(self, table: pd.DataFrame, reported: tuple[int, float] | None = None) -> None:
        self.table, self.reported = table, reported

    @classmethod
    def read(cls, path: Path, reported: tuple[int, float] | None = None) -> "Cells":
        """From a cell table; `reported` is the site that the authors report for it."""
        return cls(pd.read_parquet(path, columns=COLUMNS), reported)

    @cached_property
    def sites(self) -> pd.DataFrame:
        """The four averages of every site."""
        return averages_by_site(self.table)

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """What does not depend on the site, a row a prompt."""
        return self.table.drop_duplicates("prompt_id").set_index("prompt_id")


def reported_site(name: SweepName, paper: Mapping[str, Any]) -> tuple[int, float] | None:
    """The (layer, magnitude) that the authors report for a model and a data set, in the paper's encoding."""
    site = paper["sites"].get(name.model, {}).get(name.dataset)
    return (int(site[0]), float(site[1])) if site and name.encoding == PAPER_ENCODING else None


def scorecard(
    ours: Mapping[SweepName, Path], authors: Mapping[SweepName, Path], paper: Mapping[str, Any]
) -> pd.DataFrame:
    """Every number that the paper, the authors' files or we have, a row each (columns `SCORES` and `AGREEMENT`).

    `difference` is ours minus the authors', on the prompts and sites that both have. Probabilities are compared prompt
    by prompt too (p_injected also site by site), relative to the authors': `n` of them, `max_difference`,
    `median_difference`, and `n_beyond`, the number of differences beyond `TOLERANCE`. A prompt is in both if row number
    and memory are the same. Random memories are drawn differently: only their averages stand side by side.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted({*ours, *authors}):
        reported = reported_site(name, paper)
        sides = {
            who: Cells.read(of[name], reported) for who, of in (("authors", authors), ("ours", ours)) if name in of
        }
        rows += [{**vars(name), **row} for row in _numbers(name, sides, reported)]
    return pd.DataFrame(rows, columns=[*SCORES, *AGREEMENT]).astype({"n": "Int64", "n_beyond": "Int64"})


def _numbers(
    name: SweepName, sides: Mapping[str, Cells], reported: tuple[int, float] | None
) -> Iterator[dict[str, Any]]:
    shared = _shared(sides) if name.memories == CURATED and len(sides) == 2 else {}

    def row(quantity: str, value: Callable[[Cells], float]) -> dict[str, Any]:
        numbers: dict[str, Any] = {who: value(cells) for who, cells in sides.items()}
        if shared:
            numbers["difference"] = value(shared["ours"]) - value(shared["authors"])
        return {"quantity": quantity, **numbers}

    if name.memories == CURATED:
        for kind in ("explicit", "obscure"):
            yield row(f"mean p_{kind}", partial(_mean_p, kind))
            yield row(f"surprisal, {kind} (nats)", partial(_surprisal, kind))
        for index, part in enumerate(("layer", "magnitude")):
            if reported:
                yield {"quantity": f"{part} of the site that the authors report", "paper": reported[index]}
            for average in ("mean", "median"):
                best = {who: best_site(cells.sites, average)[index] for who, cells in sides.items()}
                yield {"quantity": f"{part} of the best {average}", **best}
    if reported:
        for average, label in AVERAGES.items():
            quantity = f"{label} at layer {reported[0]}, magnitude {reported[1]:g} (%)"
            yield row(quantity, partial(_average_at, reported, average))
    if shared:
        yield from _agreement(shared)


def _mean_p(kind: str, cells: Cells) -> float:
    return cells.prompts[f"p_{kind}"].mean()


def _surprisal(kind: str, cells: Cells) -> float:
    return -np.log(cells.prompts[f"p_{kind}"]).mean()


def _average_at(site: tuple[int, float], average: str, cells: Cells) -> float:
    """One average at one site; missing if the grid does not have it."""
    return float(cells.sites[average].get(site, np.nan))


def _shared(sides: Mapping[str, Cells]) -> dict[str, Cells]:
    """Both sides' cells of the prompts and sites that both have; empty if there are none."""
    key = [*KEY, "memory"]
    both = sides["ours"].table.merge(sides["authors"].table, on=key, suffixes=("_ours", "_authors"))
    values = [column for column in COLUMNS if column not in key]
    return {
        who: Cells(both[[*key, *(f"{value}_{who}" for value in values)]].set_axis([*key, *values], axis=1))
        for who in (sides if len(both) else ())
    }


def _agreement(shared: Mapping[str, Cells]) -> Iterator[dict[str, Any]]:
    for quantity in ("p_explicit", "p_obscure", "p_injected"):
        of = {who: cells.table if quantity == "p_injected" else cells.prompts for who, cells in shared.items()}
        ours, theirs = (of[who][quantity].astype("float64") for who in ("ours", "authors"))
        # An answer that is impossible for one side alone is infinitely far off.
        difference = ((ours - theirs).abs() / theirs).where(ours != theirs, 0)
        yield {
            "quantity": f"{quantity}, prompt by prompt (relative)",
            "n": len(difference),
            "max_difference": difference.max(),
            "median_difference": difference.median(),
            "n_beyond": int((difference > TOLERANCE).sum()),
        }


def claims(cells: Mapping[SweepName, Path], paper: Mapping[str, Any]) -> pd.DataFrame:
    """A verdict on each claim of the paper for every model and data set: columns claim, model, dataset, verdict,
    evidence (a sentence with the numbers) and figure (the file that shows them).

    A claim about prompts holds if it does for their mean and, beyond chance, for their majority: the median of the
    paired differences of the answer's log-probability is positive, and a Wilcoxon test of them gives p < `LEVEL`.
    """
    curated = {
        name: Cells.read(path, reported_site(name, paper))
        for name, path in sorted(cells.items())
        if name.memories == CURATED and name.encoding == PAPER_ENCODING
    }
    rows = []
    for name, of in curated.items():
        others = {other.memories: Cells.read(cells[other]) for other in name.beside(cells)}
        rows += [{"model": name.model, "dataset": name.dataset, **row} for row in _claims_of(name, of, others)]
    if curated:
        rows.append(_up_to(curated, paper["headline"]))
    table = pd.DataFrame(rows, columns=["claim", "model", "dataset", "verdict", "evidence", "figure"])
    return table.sort_values(["claim", "model", "dataset"], kind="stable", ignore_index=True)


def _claims_of(name: SweepName, curated: Cells, random: Mapping[str, Cells]) -> Iterator[dict[str, str]]:
    figure = f"change.{name.model}.{name.dataset}.{CURATED}.{name.encoding}.png"
    own = best_site(curated.sites, "mean")
    site, whose = own, "its best"
    if curated.reported and curated.reported in curated.sites.index:
        site, whose = curated.reported, "the authors'"
        yield {**_best_is_reported(curated, curated.reported, own), "figure": figure}
    where = f"at {whose} site, layer {site[0]}, magnitude {site[1]:g}"
    yield {**_explicit_is_better(curated), "figure": "table1.csv"}
    yield {**_curated_helps(curated, site, where), "figure": figure}
    for memories, cells in random.items():
        claim = {"claim": f"3. Curated memories do better than random ones ({memories})"}
        if site in cells.sites.index:
            verdict = _beats_random(curated, cells, site, where)
        else:
            verdict = {"verdict": "not tested", "evidence": f"the random memories were not injected {where}"}
        yield {**claim, **verdict, "figure": "curated_against_random.csv"}


def _explicit_is_better(curated: Cells) -> dict[str, str]:
    prompts = curated.table.drop_duplicates("prompt_id")
    means = prompts[["p_explicit", "p_obscure"]].mean()
    with np.errstate(divide="ignore"):
        before, after = (np.log(prompts[f"p_{kind}"].astype("float64")) for kind in ("obscure", "explicit"))
    verdict, prompts_say = _over_prompts(means["p_explicit"] > means["p_obscure"], after - before)
    return {
        "claim": "1. Explicit prompts are answered better than obscure ones",
        "verdict": verdict,
        "evidence": f"mean P(answer) {means['p_explicit']:.3g} against {means['p_obscure']:.3g}; better {prompts_say}",
    }


def _curated_helps(curated: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    averages, here = curated.sites.loc[site], at_site(curated.table, *site)
    verdict, prompts_say = _over_prompts(averages["mean"] > 0, here["logp_injected"] - here["logp_obscure"])
    return {
        "claim": "2. A curated memory makes the answer more probable",
        "verdict": verdict,
        "evidence": f"{where}: mean {averages['mean']:+.1f} %, median {averages['median']:+.1f} %; "
        f"better {prompts_say}",
    }


def _beats_random(curated: Cells, random: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    here, there = curated.sites.loc[site], random.sites.loc[site]
    after = at_site(curated.table, *site).merge(at_site(random.table, *site), on="prompt_id", suffixes=("", "_random"))
    verdict, prompts_say = _over_prompts(
        here["mean"] > there["mean"], after["logp_injected"] - after["logp_injected_random"]
    )
    return {
        "verdict": verdict,
        "evidence": f"{where}: mean {here['mean']:+.1f} % against {there['mean']:+.1f} %; better {prompts_say}",
    }


def _over_prompts(in_mean: bool, differences: pd.Series) -> tuple[str, str]:
    """A verdict from the mean and from paired differences of log-probabilities, and what these say, in words."""
    # Two answers that are impossible, in float32, are equally so.
    differences = differences.astype("float64").fillna(0)
    p = paired_p_value(differences)
    in_words = f"for {int((differences > 0).sum())} of {len(differences)} prompts (p = {p:.2g})"
    return _verdict(in_mean, differences.median() > 0 and p < LEVEL), in_words


def _up_to(curated: Mapping[SweepName, Cells], headline: float) -> dict[str, str]:
    """One row for the whole study: a claim of "up to" is about the largest."""
    name = max(curated, key=lambda name: curated[name].sites["mean"].max())
    site = best_site(curated[name].sites, "mean")
    best = curated[name].sites.loc[site]
    return {
        "claim": f"4. The answer's probability rises by up to {headline:g} %",
        "model": name.model,
        "dataset": name.dataset,
        "verdict": _verdict(best["mean"] >= headline, best["median"] >= headline),
        "evidence": f"the highest mean of all is {best['mean']:+.1f} %, at layer {site[0]}, magnitude {site[1]:g}, "
        f"where the median is {best['median']:+.1f} % and the mean probability changes by "
        f"{best['ratio_of_means']:+.1f} %",
        "figure": f"change.{name.model}.{name.dataset}.{CURATED}.{name.encoding}.png",
    }


def _best_is_reported(curated: Cells, site: tuple[int, float], own: tuple[int, float]) -> dict[str, str]:
    by_median = best_site(curated.sites, "median")
    ranks = {average: int(curated.sites[average].rank(ascending=False)[site]) for average in ("mean", "median")}
    return {
        "claim": "5. The site that the authors report is the best",
        "verdict": _verdict(own == site, by_median == site),
        "evidence": f"layer {site[0]}, magnitude {site[1]:g} is number {ranks['mean']} by mean and {ranks['median']} "
        f"by median of {len(curated.sites)} sites; best by mean: layer {own[0]}, magnitude {own[1]:g}; "
        f"by median: layer {by_median[0]}, magnitude {by_median[1]:g}",
    }


def _verdict(in_mean: bool, in_median: bool) -> str:
    if in_mean and in_median:
        return "holds"
    return "holds only in the mean" if in_mean else "does not hold"
