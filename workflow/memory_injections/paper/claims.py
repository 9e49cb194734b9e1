"""The claims of the paper, each with a verdict and its evidence."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import AVERAGES, PAPER_AVERAGE
from memory_injections.analysis.effects import LEVEL, describe_effect
from memory_injections.analysis.evidence import ALL_RANDOM
from memory_injections.analysis.numbers import write_signed
from memory_injections.analysis.paper_tables import ANY, CHANCE
from memory_injections.analysis.verdicts import (
    INCONCLUSIVE,
    OPPOSITE,
    SUPPORTED,
    adjust_p_values,
    combine_p_values,
    name_verdict,
)
from memory_injections.paper.reported import find_reported_site, name_site
from memory_injections.registry import Registry
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId
from memory_injections.terms import (
    ANY_ENCODING,
    CURATED,
    FIRST_TOKEN,
    GENERATION,
    PAPER_ENCODING,
    RELATIVE,
    SHUFFLED,
    Outcome,
    Population,
)

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
# The verdict where there is nothing to test.
UNKNOWN = {"verdict": INCONCLUSIVE, "p": float("nan")}
NONE_WRITTEN = "no answers are written at the sites of these injections"
NO_PROMPTS = "no prompt is in the part of the data that verdicts are about"
COLUMNS = [
    "claim", "model", "dataset", "encoding", "relative", "verdict", "effect", "low", "high", "low_99", "high_99",
    "p", "p_holm", "margin", "n_prompts", "n_clusters", "evidence", "figure",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What a claim is weighed by: sweeps of curated memories of one model on one data set.

    It is the sweep that is injected as in the paper, or those of all encodings with relative doses or with factors.
    `curated` is the row of the evidence, `tables` are those of the study, `paper` has the paper's numbers,
    `population` says which prompts the evidence is about, and `outcome` what the memory has to change.
    """

    sweep: SweepId
    curated: pd.Series
    tables: Mapping[str, pd.DataFrame]
    paper: Mapping[str, Any]
    population: Population = "all"
    outcome: Outcome = FIRST_TOKEN


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its sentence, in which numbers of the paper may stand, and the function that weighs it.

    A claim `of_prompts` does not depend on injections: it is weighed once for a model and a data set.
    """

    name: str
    label: str
    weigh: Callable[[Case], dict[str, Any] | None]
    of_prompts: bool = False


CLAIMS: Registry[Claim] = Registry("claim")


def claim(
    name: str, label: str, of_prompts: bool = False
) -> Callable[[Callable[[Case], dict[str, Any] | None]], Callable[[Case], dict[str, Any] | None]]:
    """Register a claim. Its function returns columns of the claim's row, or None where a study says nothing on it.

    A row has a `verdict`; or `estimates`, which all have to agree, with the claim's `p`, or a `gain` with its `p`: the
    verdict then follows from the p-values of all claims.
    """

    def register(function: Callable[[Case], dict[str, Any] | None]) -> Callable[[Case], dict[str, Any] | None]:
        CLAIMS.register(Claim(name, label, function, of_prompts))
        return function

    return register


def judge_claims(
    tables: Mapping[str, pd.DataFrame],
    paper: Mapping[str, Any],
    flags: Mapping[SweepId, str],
    margin: float,
    population: Population = "all",
    outcome: Outcome = FIRST_TOKEN,
) -> pd.DataFrame:
    """Judge each claim of the paper for every model and data set, with factors and with relative doses.

    `tables` are those of `analysis.evidence.assess_sweeps`, in a study with controls those of `controls.contrasts`, and
    in one with models `informative_contrasts`; sweeps in `flags` do not count. `margin`: effects within so many nats of
    zero do not matter; `population`: the prompts that the evidence is about; `outcome`: what claims 2 and 4 are weighed
    by; of written answers, effects, intervals and the margin are shares. Columns: claim, model, dataset, encoding
    (`any`: chosen among all) and relative, verdict, effect with its interval in nats, p (the claim's p-value) and
    p_holm (adjusted for all claims of the study), margin, n_prompts, n_clusters, evidence (a sentence with the numbers)
    and figure (the file that shows them). Claims about effects get a verdict of `analysis.verdicts`; claims about the
    paper's numbers are reproduced or not.
    """
    rows: list[dict[str, Any]] = []
    weighed: set[tuple[str, ...]] = set()
    for sweep, curated in select_cases(tables["evidence"], flags).items():
        case = Case(sweep, curated, tables, paper, population, outcome)
        for known in CLAIMS.values():
            of = {"claim": known.label, "model": sweep.model, "dataset": sweep.dataset}
            if known.of_prompts and tuple(of.values()) in weighed:
                continue
            weighed.add(tuple(of.values()))
            if (row := known.weigh(case)) is not None:
                doses = {} if known.of_prompts else {"encoding": sweep.encoding, "relative": sweep.relative}
                rows.append({**of, **doses, "margin": margin, **row})
    for row, p in zip(rows, adjust_p_values([row.get("p", float("nan")) for row in rows]), strict=True):
        row["p_holm"] = p
        if "verdict" not in row:
            estimates = row.get("estimates")
            row["verdict"] = name_verdict(estimates, p, margin) if estimates else _judge_failures(row, p)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.sort_values(["claim", "model", "dataset"], kind="stable", ignore_index=True)


def select_cases(evidence: pd.DataFrame, flags: Collection[SweepId] = ()) -> dict[SweepId, pd.Series]:
    """Select the sweeps of curated memories that claims are weighed by, each with its row of the evidence.

    Of each model and data set: with relative doses, all encodings together, or the only one; with factors, the
    encoding that the paper uses or, in a study without that, all together; none where one of them is in `flags`.
    """
    rows = {SweepId(*(row[name] for name in ID_COLUMNS)): pd.Series(row) for row in evidence.to_dict("records")}
    groups: dict[tuple[str, str, bool], list[SweepId]] = {}
    for sweep in rows:
        if sweep.memories == CURATED:
            groups.setdefault((sweep.model, sweep.dataset, sweep.relative), []).append(sweep)
    wanted = (PAPER_ENCODING, f"{ANY_ENCODING}{RELATIVE}", ANY_ENCODING)
    chosen = (
        next((sweep for name in wanted for sweep in group if sweep.coding == name), group[0])
        for _, group in sorted(groups.items())
        if not set(group) & set(flags)
    )
    return {sweep: rows[sweep] for sweep in chosen}


@claim("explicit", "1. Explicit prompts are answered better than obscure ones", of_prompts=True)
def weigh_explicit(case: Case) -> dict[str, Any]:
    """Whether explicit prompts are answered better."""
    explicit = _find_rows(case.tables["explicit_prompts"], model=case.sweep.model, dataset=case.sweep.dataset).iloc[0]
    means = f"mean P(answer) {explicit['p_explicit']:.3g} against {explicit['p_obscure']:.3g}"
    return _show([explicit], f"{describe_effect(explicit)}; {means}", "table1.csv")


@claim("helps", "2. The memory helps: a curated memory makes the answer more probable, and more than other memories do")
def weigh_memory(case: Case) -> dict[str, Any]:
    """Whether the memory helps, against shuffled memories or else random words."""
    curated, sweep = case.curated, case.sweep
    if not curated["n_prompts"]:
        return {**curated[["n_prompts", "n_clusters"]], **UNKNOWN, "evidence": NO_PROMPTS, "figure": "population.csv"}
    if case.outcome == GENERATION:
        return _weigh_written(case) or {**UNKNOWN, "evidence": NONE_WRITTEN, "figure": "by_outcome.csv"}
    where = f"at sites chosen on other prompts (most often {name_chosen(curated)})"
    figure = f"effect.{replace(sweep, encoding=curated['chosen_encoding']).file_stem}.png"
    says = f"{where}: {describe_effect(curated)}"
    shuffled, random = find_shuffled(sweep, case.tables), find_contrast(sweep, case.tables["contrasts"])
    if shuffled is not None:
        against = _describe_contrast(shuffled, "other prompts' memories", "control_effect")
        return _show([curated, shuffled], f"{says}; {against}", figure)
    if random is not None:
        return _show([curated, random], f"{says}; {_describe_words(random)}", figure)
    says = f"{says}; the study has no random words to compare with"
    return {**_show([curated], says, figure), **UNKNOWN}


def _find_written(case: Case) -> pd.Series | None:
    rows = _find_rows(
        case.tables["by_outcome"], **{name: value for name, value in case.sweep.columns.items() if name != "memories"}
    )
    rows = rows[rows["outcome"] == GENERATION]
    return rows.iloc[0] if len(rows) else None


def _weigh_written(case: Case) -> dict[str, Any] | None:
    """Whether more right answers are written with the memory, than without it and than with shuffled ones."""
    row = _find_written(case)
    if row is None:
        return None
    columns = ["effect", "low", "high", "low_99", "high_99", "p"]
    contrast = row[["contrast", *(f"contrast_{name}" for name in columns[1:])]].set_axis(columns)
    estimates = [row, contrast] if pd.notna(contrast["effect"]) else [row]
    where = f"at sites chosen on other prompts (most often {name_chosen(row)})"
    says = f"{where}: the share of right written answers, {row['before']:.1%}, changes by {_describe_share(row)}"
    if len(estimates) == 1:
        return {**_show(estimates, says, "by_outcome.csv"), **UNKNOWN}
    says = f"{says}, and by {_describe_share(contrast)} more than with other prompts' memories"
    return _show(estimates, says, "by_outcome.csv")


def _weigh_written_failures(case: Case) -> dict[str, Any] | None:
    """Whether more written answers are rescued than broken."""
    row = _find_written(case)
    if row is None:
        return None
    broken = f"{row['n_broken']:.0f} of {row['n_right']:.0f} right ones broken"
    return {
        "p": row["p"],
        "gain": row["effect"],
        **row[["n_prompts", "n_clusters"]],
        # Where only wrong answers were chosen, none can be broken.
        **(UNKNOWN if case.population == "composition_missed" else {}),
        "evidence": f"of the answers that the model writes, {row['n_rescued']:.0f} of {row['n_wrong']:.0f} wrong ones "
        f"are rescued and {broken} at sites chosen on other prompts",
        "figure": "by_outcome.csv",
    }


def _describe_share(estimate: pd.Series) -> str:
    low, high = (write_signed(100 * estimate[name], 1) for name in ("low", "high"))
    interval = "no interval" if np.isnan(estimate["low"]) else f"{low}, {high}"
    return f"{write_signed(100 * estimate['effect'], 1)} points [{interval}]"


@claim("random", "3. Curated memories do more than random words")
def weigh_words(case: Case) -> dict[str, Any] | None:
    """Whether curated memories do more than random words."""
    random = find_contrast(case.sweep, case.tables["contrasts"])
    if random is None:
        return None
    sites = (
        f"clearly better at {random['n_better']:.0f} and clearly worse at {random['n_worse']:.0f} of "
        f"{random['n_sites']:.0f} sites"
    )
    return _show([random], f"{_describe_words(random)}; {sites}", "contrasts.csv")


def _describe_words(contrast: pd.Series) -> str:
    return _describe_contrast(contrast, _name_words(contrast), "random_effect")


def _describe_contrast(contrast: pd.Series, other: str, effect: str) -> str:
    where = f"at sites that have both (most often {name_chosen(contrast)})"
    means = f"{write_signed(contrast['curated_effect'])} against {write_signed(contrast[effect])} nats"
    return f"the difference from {other} is {describe_effect(contrast)}, {where}: {means}"


def name_chosen(row: pd.Series) -> str:
    """Name the site of a row of the evidence, or of contrasts, that is chosen most often."""
    return name_site(row["layer"], row["magnitude"], row["chosen_encoding"], row["relative"])


def _name_words(contrast: pd.Series) -> str:
    return ALL_RANDOM if contrast["memories"] == ALL_RANDOM else f"random words ({contrast['memories']})"


@claim("failures", "4. The injection corrects failures")
def weigh_failures(case: Case) -> dict[str, Any] | None:
    """Whether more answers are rescued than broken."""
    curated = case.curated
    if pd.isna(curated["hits_gain"]):
        return None
    if case.outcome == GENERATION:
        return _weigh_written_failures(case)
    if case.population == "composition_missed":
        return {
            **curated[["n_prompts", "n_clusters"]],
            **UNKNOWN,
            "evidence": f"{curated['n_rescued']:.0f} of {curated['n_missed']:.0f} wrong answers are rescued at sites "
            "chosen on other prompts; only wrong answers were chosen, so none can be broken",
            "figure": "evidence.csv",
        }
    gain, low, high = (write_signed(100 * curated[name], 1) for name in ("hits_gain", "hits_low", "hits_high"))
    return {
        "p": curated["hits_p"],
        "gain": curated["hits_gain"],
        **curated[["n_prompts", "n_clusters"]],
        "evidence": f"{curated['n_rescued']:.0f} of {curated['n_missed']:.0f} wrong answers are rescued and "
        f"{curated['n_broken']:.0f} of {curated['n_hit']:.0f} right ones broken at sites chosen on other prompts; hits "
        f"change by {gain} % of the prompts [{low}, {high}]",
        "figure": "evidence.csv",
    }


def _find_rows(table: pd.DataFrame, **values: str | bool) -> pd.DataFrame:
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def find_shuffled(sweep: SweepId, tables: Mapping[str, pd.DataFrame]) -> pd.Series | None:
    """Return the contrast of a curated sweep with shuffled memories; None in a study without that control."""
    if "control_contrasts" not in tables:
        return None
    rows = _find_rows(tables["control_contrasts"], **sweep.columns | {"memories": SHUFFLED})
    return rows.iloc[0] if len(rows) else None


def find_contrast(sweep: SweepId, contrasts: pd.DataFrame) -> pd.Series | None:
    """Return the contrast of a curated sweep with all its random words; None if it has none.

    With several kinds of words that share no site there is none: no kind is picked.
    """
    rows = _find_rows(contrasts, **{name: value for name, value in sweep.columns.items() if name != "memories"})
    together = rows if len(rows) == 1 else rows[rows["memories"] == ALL_RANDOM]
    return together.iloc[0] if len(together) else None


def _show(estimates: Sequence[pd.Series], evidence: str, figure: str) -> dict[str, Any]:
    """Return the row of a claim about effects; its verdict follows once the p-values of all claims are known."""
    shown = estimates[0][["effect", "low", "high", "low_99", "high_99", "n_prompts", "n_clusters"]]
    return {"estimates": estimates, "p": combine_p_values(estimates), **shown, "evidence": evidence, "figure": figure}


def _judge_failures(row: Mapping[str, Any], p: float) -> str:
    if not p < LEVEL:
        return INCONCLUSIVE
    return SUPPORTED if row["gain"] > 0 else OPPOSITE


@claim(
    "specific", "7. A memory is specific: relative to other answers, it does more for its own than other memories do"
)
def weigh_specificity(case: Case) -> dict[str, Any] | None:
    """Whether own memories raise own answers, more than they raise other answers and than other memories do both."""
    columns = {name: value for name, value in case.sweep.columns.items() if name != "memories"}
    rows = _find_rows(case.tables.get("specificity", pd.DataFrame(columns=list(columns))), **columns)
    if rows.empty:
        return None
    found = rows.iloc[0]
    where = f"at sites chosen on other prompts (most often {name_chosen(found)})"
    says = (
        f"{describe_effect(found)}, {where}: over shuffled memories, the own one does "
        f"{write_signed(found['own_answer'])} nats for the prompt's answer and "
        f"{write_signed(found['other_answers'])} for the data set's other answers"
    )
    return _show([found], says, "specificity.csv")


@claim("headline", "5. The answer's probability rises by up to {} %")
def check_headline(case: Case) -> dict[str, Any] | None:
    """Whether the paper's largest number comes out at the site that it reports, by its own average."""
    reported, sites = _find_reported(case)
    if reported is None or [case.sweep.model, case.sweep.dataset] not in case.paper["headline"]["sweeps"]:
        return None
    here, value = sites.loc[reported], case.paper["headline"]["percent"]
    others = ", ".join(
        f"{label} {write_signed(here[name], 1)} %" for name, label in AVERAGES.items() if name != PAPER_AVERAGE
    )
    return {
        **_show_number(case, here),
        "claim": CLAIMS["headline"].label.format(f"{value:g}"),
        "verdict": REPRODUCED if round(here[PAPER_AVERAGE]) == value else NOT_REPRODUCED,
        "evidence": f"{name_site(*reported)}: {write_signed(here[PAPER_AVERAGE], 1)} % by the paper's average; "
        f"by others: {others}; mean effect {write_signed(here['effect'])} nats",
    }


@claim("site", "6. The reported site is the best one")
def check_site(case: Case) -> dict[str, Any] | None:
    """Whether the site that the paper reports is the best one by its own average."""
    reported, sites = _find_reported(case)
    if reported is None:
        return None
    here, best = sites.loc[reported], sites[PAPER_AVERAGE].idxmax()
    ranks = {name: int(sites[name].rank(ascending=False, method="min")[reported]) for name in (PAPER_AVERAGE, "effect")}
    return {
        **_show_number(case, here),
        "verdict": REPRODUCED if ranks[PAPER_AVERAGE] == 1 else NOT_REPRODUCED,
        "evidence": f"{name_site(*reported)} is number {ranks[PAPER_AVERAGE]} of {len(sites)} sites by the paper's "
        f"average ({write_signed(here[PAPER_AVERAGE], 1)} %) and number {ranks['effect']} by the mean effect; best by "
        f"the paper's average: {name_site(*best)} ({write_signed(sites.loc[best, PAPER_AVERAGE], 1)} %)",
    }


def _find_reported(case: Case) -> tuple[tuple[int, float] | None, pd.DataFrame]:
    """Find the site that the paper reports, None unless the sweep has it, and the averages of the sweep's sites."""
    reported = find_reported_site(case.sweep, case.paper)
    sites = _find_rows(case.tables["sites"], **case.sweep.columns).set_index(["layer", "magnitude"]).sort_index()
    return reported if reported in sites.index else None, sites


def _show_number(case: Case, here: pd.Series) -> dict[str, Any]:
    return {"n_prompts": here["n_prompts"], "figure": f"change.{case.sweep.file_stem}.png"}


@claim(
    "heads",
    "8. Attention heads say the answer or the memory after more explicit prompts than obscure ones",
    of_prompts=True,
)
def weigh_heads(case: Case) -> dict[str, Any] | None:
    """Whether more prompts of one kind have an informative head than of the other, and than by chance."""
    if "informative_contrasts" not in case.tables:
        return None
    names = {"model": case.sweep.model, "dataset": case.sweep.dataset, "target": ANY}
    own = _find_rows(case.tables["informative_contrasts"], **names)
    by_chance = own[own["against"] == CHANCE].set_index("prompt_kind")
    between = own[own["against"] != CHANCE].iloc[0]
    more = by_chance.loc["explicit" if between["difference"] > 0 else "obscure"]
    p_values = [*between[["p_mcnemar", "p"]], *(more[["p_mcnemar", "p"]] if more["difference"] > 0 else [1.0])]
    both, explicit_only, obscure_only = between[["n_both", "n_only", "n_against_only"]].astype(int)
    against = "; ".join(
        f"{kind} prompts against chance: {row['n_both'] + row['n_only']:.0f} and "
        f"{row['n_both'] + row['n_against_only']:.0f} of {row['n_prompts']:.0f}, p {row['p_mcnemar']:.2g}"
        for kind, row in by_chance.iterrows()
    )
    return {
        "p": float(np.max(p_values)),
        "gain": between["difference"],
        **between[["n_prompts", "n_clusters"]],
        "evidence": f"of {between['n_prompts']:.0f} pairs, {both} have an informative head after both prompts, "
        f"{explicit_only} after the explicit one only and {obscure_only} after the obscure one only, p "
        f"{between['p_mcnemar']:.2g} (McNemar), {between['p']:.2g} (clusters); {against}",
        "figure": "informative_contrasts.csv",
    }
