"""The claims of the paper, each with a verdict and its evidence."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import compare_pairs, find_best_site, select_site
from memory_injections.paper.reported import PAPER_ENCODING, find_reported_site
from memory_injections.paper.scorecard import Cells
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED

# Significance level of the tests over prompts.
LEVEL = 0.05


def judge_claims(cells: Mapping[SweepId, Path], paper: Mapping[str, Any]) -> pd.DataFrame:
    """Judge each claim of the paper for every model and data set.

    Columns: claim, model, dataset, verdict, evidence (a sentence with the numbers) and figure (the file that shows
    them).

    A claim about prompts holds if it does for their mean and, beyond chance, for their majority: the median of the
    paired differences of the answer's log-probability is positive, and a Wilcoxon test of them gives p < `LEVEL`.
    """
    curated = {
        name: Cells.read(path, find_reported_site(name, paper))
        for name, path in sorted(cells.items())
        if name.memories == CURATED and name.encoding == PAPER_ENCODING
    }
    rows = []
    for name, of in curated.items():
        others = {other.memories: Cells.read(cells[other]) for other in name.other_memories(cells)}
        rows += [{"model": name.model, "dataset": name.dataset, **row} for row in _judge_sweep(name, of, others)]
    if curated:
        rows.append(_judge_headline(curated, paper["headline"]))
    table = pd.DataFrame(rows, columns=["claim", "model", "dataset", "verdict", "evidence", "figure"])
    return table.sort_values(["claim", "model", "dataset"], kind="stable", ignore_index=True)


def _judge_sweep(name: SweepId, curated: Cells, random: Mapping[str, Cells]) -> Iterator[dict[str, str]]:
    figure = f"change.{name.model}.{name.dataset}.{CURATED}.{name.encoding}.png"
    own = find_best_site(curated.sites, "mean")
    site, whose = own, "its best"
    if curated.reported and curated.reported in curated.sites.index:
        site, whose = curated.reported, "the authors'"
        yield {**_judge_reported_site(curated, curated.reported, own), "figure": figure}
    where = f"at {whose} site, layer {site[0]}, magnitude {site[1]:g}"
    yield {**_judge_explicit(curated), "figure": "table1.csv"}
    yield {**_judge_curated(curated, site, where), "figure": figure}
    for memories, cells in random.items():
        claim = {"claim": f"3. Curated memories do better than random ones ({memories})"}
        if site in cells.sites.index:
            verdict = _judge_random(curated, cells, site, where)
        else:
            verdict = {"verdict": "not tested", "evidence": f"the random memories were not injected {where}"}
        yield {**claim, **verdict, "figure": "curated_against_random.csv"}


def _judge_explicit(curated: Cells) -> dict[str, str]:
    prompts = curated.table.drop_duplicates("prompt_id")
    means = prompts[["p_explicit", "p_obscure"]].mean()
    with np.errstate(divide="ignore"):
        before, after = (np.log(prompts[f"p_{kind}"].astype("float64")) for kind in ("obscure", "explicit"))
    verdict, prompts_say = _judge_differences(means["p_explicit"] > means["p_obscure"], after - before)
    return {
        "claim": "1. Explicit prompts are answered better than obscure ones",
        "verdict": verdict,
        "evidence": f"mean P(answer) {means['p_explicit']:.3g} against {means['p_obscure']:.3g}; better {prompts_say}",
    }


def _judge_curated(curated: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    averages, here = curated.sites.loc[site], select_site(curated.table, *site)
    verdict, prompts_say = _judge_differences(averages["mean"] > 0, here["logp_injected"] - here["logp_obscure"])
    return {
        "claim": "2. A curated memory makes the answer more probable",
        "verdict": verdict,
        "evidence": f"{where}: mean {averages['mean']:+.1f} %, median {averages['median']:+.1f} %; "
        f"better {prompts_say}",
    }


def _judge_random(curated: Cells, random: Cells, site: tuple[int, float], where: str) -> dict[str, str]:
    here, there = curated.sites.loc[site], random.sites.loc[site]
    after = select_site(curated.table, *site).merge(
        select_site(random.table, *site), on="prompt_id", suffixes=("", "_random")
    )
    verdict, prompts_say = _judge_differences(
        here["mean"] > there["mean"], after["logp_injected"] - after["logp_injected_random"]
    )
    return {
        "verdict": verdict,
        "evidence": f"{where}: mean {here['mean']:+.1f} % against {there['mean']:+.1f} %; better {prompts_say}",
    }


def _judge_differences(in_mean: bool, differences: pd.Series) -> tuple[str, str]:
    """Return a verdict from the mean and from paired differences of log-probabilities, and the latter in words."""
    # Two answers with probability zero in float32 do not differ.
    differences = differences.astype("float64").fillna(0)
    p = compare_pairs(differences)
    in_words = f"for {int((differences > 0).sum())} of {len(differences)} prompts (p = {p:.2g})"
    return _name_verdict(in_mean, differences.median() > 0 and p < LEVEL), in_words


def _judge_headline(curated: Mapping[SweepId, Cells], headline: float) -> dict[str, str]:
    """Judge a claim of "up to", which is about the largest value of the whole study."""
    name = max(curated, key=lambda name: curated[name].sites["mean"].max())
    site = find_best_site(curated[name].sites, "mean")
    best = curated[name].sites.loc[site]
    return {
        "claim": f"4. The answer's probability rises by up to {headline:g} %",
        "model": name.model,
        "dataset": name.dataset,
        "verdict": _name_verdict(best["mean"] >= headline, best["median"] >= headline),
        "evidence": f"the highest mean of all is {best['mean']:+.1f} %, at layer {site[0]}, magnitude {site[1]:g}, "
        f"where the median is {best['median']:+.1f} % and the mean probability changes by "
        f"{best['ratio_of_means']:+.1f} %",
        "figure": f"change.{name.model}.{name.dataset}.{CURATED}.{name.encoding}.png",
    }


def _judge_reported_site(curated: Cells, site: tuple[int, float], own: tuple[int, float]) -> dict[str, str]:
    by_median = find_best_site(curated.sites, "median")
    ranks = {average: int(curated.sites[average].rank(ascending=False)[site]) for average in ("mean", "median")}
    return {
        "claim": "5. The site that the authors report is the best",
        "verdict": _name_verdict(own == site, by_median == site),
        "evidence": f"layer {site[0]}, magnitude {site[1]:g} is number {ranks['mean']} by mean and {ranks['median']} "
        f"by median of {len(curated.sites)} sites; best by mean: layer {own[0]}, magnitude {own[1]:g}; "
        f"by median: layer {by_median[0]}, magnitude {by_median[1]:g}",
    }


def _name_verdict(in_mean: bool, in_median: bool) -> str:
    if in_mean and in_median:
        return "holds"
    return "holds only in the mean" if in_mean else "does not hold"
