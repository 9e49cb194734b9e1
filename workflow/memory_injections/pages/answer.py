"""The study's answer to its question, in plain words: the first sentence of the report."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from memory_injections.analysis.numbers import write_signed
from memory_injections.analysis.verdicts import INCONCLUSIVE, OPPOSITE, SUPPORTED, ZERO
from memory_injections.pages.numbers import typeset
from memory_injections.paper.claims import CLAIMS, find_contrast, find_shuffled
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId
from memory_injections.terms import FIRST_TOKEN, GENERATION, Outcome

QUESTION = "Does the memory help?"
# The first word of the answer for each verdict.
WORDS = {SUPPORTED: "Yes", OPPOSITE: "No, it harms", ZERO: "No", INCONCLUSIVE: "Unclear"}
MIXED = "It depends"
# With more models and data sets that have one verdict, the sentence counts them in place of naming them.
MOST_NAMED = 3
OF = ["model", "dataset", "relative"]


def answer_question(
    cases: Sequence[pd.Series], tables: Mapping[str, pd.DataFrame], outcome: Outcome = FIRST_TOKEN
) -> tuple[str, str]:
    """Return the answer to `QUESTION` as its first words and the rest: by one case, or by what several have in common.

    `cases` are rows of the evidence (`findings.list_cases`), and `outcome` is what their claims rest on.
    """
    claims = tables["claims"]
    helps = claims[claims["claim"] == CLAIMS["helps"].label].set_index(OF)
    rows = [(case, helps.loc[tuple(case[OF])]) for case in cases]
    if not rows:
        return "Not asked", "No sweep of this study injects a prompt's own memory."
    if len(rows) > 1:
        word, says = _describe_cases(rows, outcome)
    else:
        ((case, claim),) = rows
        word, says = WORDS[claim["verdict"]], _describe_case(case, claim, tables, outcome)
    return word, typeset(says)


def name_case(row: pd.Series) -> str:
    """Name the model, the data set and the kind of dose that a row is about."""
    return f"{row['model']} on {row['dataset']}{', matched doses' if row['relative'] else ''}"


def _describe_case(case: pd.Series, claim: pd.Series, tables: Mapping[str, pd.DataFrame], outcome: Outcome) -> str:
    if math.isnan(claim["effect"]):
        return f"Here {claim['evidence']}."
    says = f"Here the memory {_describe_change(claim['effect'], outcome)}{_describe_ends(claim, outcome)}"
    says += ", too little to matter" if claim["verdict"] == ZERO else ""
    contrast = None if outcome == GENERATION else _find_other_memory(case, tables)
    if contrast is not None:
        name, row = contrast
        says += f"; against {name}, it {_describe_change(row['effect'], outcome)}{_describe_ends(row, outcome)}"
    counts = _count_corrected(case, tables, outcome)
    return f"{says}; {counts}." if counts else f"{says}."


def _describe_cases(rows: Sequence[tuple[pd.Series, pd.Series]], outcome: Outcome) -> tuple[str, str]:
    """Say which cases have which verdict, with the change in each, or its range where they are many."""
    names = _name_what_differs([case for case, _ in rows])
    parts: list[str] = []
    for verdict, word in WORDS.items():
        same = {
            name: claim["effect"] for name, (_, claim) in zip(names, rows, strict=True) if claim["verdict"] == verdict
        }
        if not same:
            continue
        named = ", ".join(f"{name} ({_write_change(effect, outcome)})" for name, effect in same.items())
        if len(same) > MOST_NAMED:
            known = [_write_change(end, outcome) for end in sorted(same.values()) if not math.isnan(end)]
            named = f"{len(same)} of {len(rows)}" + (f" ({known[0]} to {known[-1]})" if known else "")
        parts.append(f"{word if not parts else word.lower()} for {named}")
    what = "the share of right written answers" if outcome == GENERATION else "the right answer's probability"
    says = f"{'; '.join(parts)}. In brackets: how much the memory changes {what}."
    verdicts = {claim["verdict"] for _, claim in rows}
    return (WORDS[verdicts.pop()], f"{says[0].upper()}{says[1:]}") if len(verdicts) == 1 else (MIXED, says)


def _name_what_differs(cases: Sequence[pd.Series]) -> list[str]:
    """Name cases by what is not the same in all of them: the model, the data set, or the kind of dose."""
    table = pd.DataFrame(cases)[OF]
    differs = table.nunique() > 1
    if not differs["relative"]:
        return [" on ".join(row) for row in table.loc[:, differs].itertuples(index=False, name=None)]
    return [name_case(case) for case in cases]


def _write_change(effect: float, outcome: Outcome) -> str:
    """Write the change of a probability, or of a share of answers, as a number with its sign."""
    if math.isnan(effect):
        return "–"
    change = 100 * (effect if outcome == GENERATION else math.expm1(effect))
    return f"{_round(change)} {'points' if outcome == GENERATION else '%'}"


def _round(change: float) -> str:
    """Round percents to whole ones, those below one to two digits after the point; none has a sign for nothing."""
    text = write_signed(change, 0 if abs(change) >= 1 else 2)
    return "0" if text == "0.00" else text


def _describe_change(effect: float, outcome: Outcome) -> str:
    size = _write_change(effect, outcome)
    if size.startswith("0 "):
        return "changes nothing" if outcome == GENERATION else "leaves the right answer as probable as it was"
    if outcome == GENERATION:
        return f"changes the share of right written answers by {size}"
    return f"makes the right answer about {size[1:]} {'more' if effect > 0 else 'less'} probable"


def _describe_ends(row: pd.Series, outcome: Outcome) -> str:
    """Write the 95 % interval in brackets, in the unit of the change."""
    if math.isnan(row["low"]):
        return " (too few clusters for an interval)"
    return f" ({_write_change(row['low'], outcome)} to {_write_change(row['high'], outcome)})"


def _find_other_memory(case: pd.Series, tables: Mapping[str, pd.DataFrame]) -> tuple[str, pd.Series] | None:
    """Find what the memory is compared with, as the claim does: other prompts' memories, or else random words."""
    sweep = SweepId(*case[ID_COLUMNS])
    for name, found in (
        ("another prompt's memory", find_shuffled(sweep, tables)),
        ("random words", find_contrast(sweep, tables["contrasts"])),
    ):
        if found is not None and not math.isnan(found["effect"]):
            return name, found
    return None


def _count_corrected(case: pd.Series, tables: Mapping[str, pd.DataFrame], outcome: Outcome) -> str:
    """Say how many wrong answers are rescued, and how many right ones broken; nothing where that is not known."""
    row = case.rename({"n_missed": "n_wrong", "n_hit": "n_right"})
    if outcome == GENERATION:
        keys = [*OF, "encoding"]
        written = tables["by_outcome"]
        written = written[(written["outcome"] == GENERATION) & (written[keys] == case[keys]).all(axis=1)]
        if written.empty:
            return ""
        row = written.iloc[0]
    if math.isnan(row["n_rescued"]):
        return ""
    verb = "is" if round(row["n_rescued"]) == 1 else "are"
    says = f"{row['n_rescued']:.0f} of {row['n_wrong']:.0f} wrong answers {verb} rescued"
    return f"{says}, {row['n_broken']:.0f} of {row['n_right']:.0f} right ones broken" if row["n_right"] else says
