"""The first sentence of the report: plain words and numbers of the tables, for every verdict."""

import math

import numpy as np
import pandas as pd
import pytest
from memory_injections.pages.answer import answer_question
from memory_injections.paper.claims import CLAIMS

SWEEP = {"model": "m", "dataset": "d", "encoding": "unembed", "relative": False}
COUNTS = {"n_missed": 58.0, "n_rescued": 1.0, "n_hit": 14.0, "n_broken": 2.0}
NO_CONTRASTS = pd.DataFrame(columns=[*SWEEP, "memories", "effect", "low", "high"])


def answer(verdict: str, change: float, low: float, high: float, **counts: float) -> str:
    """The answer of a study with one sweep, whose change and interval are in percent."""
    case = pd.Series({**SWEEP, "memories": "curated", **COUNTS, **counts})
    effects = dict(zip(("effect", "low", "high"), (math.log1p(end / 100) for end in (change, low, high)), strict=True))
    claim = {**SWEEP, "claim": CLAIMS["helps"].label, "verdict": verdict, "evidence": "no prompt counts", **effects}
    other = pd.DataFrame([{**SWEEP, "memories": "shuffled", **effects}])
    tables = {"claims": pd.DataFrame([claim]), "contrasts": NO_CONTRASTS, "control_contrasts": other}
    return ". ".join(answer_question([case], tables))


def test_the_first_words_follow_the_verdict() -> None:
    assert answer("practically zero", 1, -2, 4).startswith(
        "No. Here the memory makes the right answer about 1\u00a0% more probable (−2\u00a0% to +4\u00a0%), "
        "too little to matter; against another prompt's memory, it makes"
    )
    assert answer("supported", 57, 20, 90).startswith(
        "Yes. Here the memory makes the right answer about 57\u00a0% more"
    )
    assert answer("opposite", -30, -50, -12).startswith(
        "No, it harms. Here the memory makes the right answer about 30\u00a0% less probable (−50\u00a0% to −12\u00a0%);"
    )
    assert answer("inconclusive", 5, -50, 40).startswith("Unclear. ")


@pytest.mark.parametrize(("rescued", "verb"), [(1.0, "1 of 58 wrong answers is"), (3.0, "3 of 58 wrong answers are")])
def test_rescued_answers_are_counted(rescued: float, verb: str) -> None:
    assert answer("supported", 57, 20, 90, n_rescued=rescued).endswith(f"; {verb} rescued, 2 of 14 right ones broken.")
    assert answer("supported", 57, 20, 90, n_hit=0.0).endswith("; 1 of 58 wrong answers is rescued.")
    assert "rescued" not in answer("supported", 57, 20, 90, n_rescued=np.nan)


def test_nothing_has_no_sign_and_missing_numbers_are_said() -> None:
    assert "leaves the right answer as probable as it was (−0.30\u00a0% to +0.30\u00a0%)" in answer(
        "practically zero", -0.001, -0.3, 0.3
    )
    assert "(too few clusters for an interval)" in answer("inconclusive", 5, np.nan, np.nan)
    assert answer("inconclusive", np.nan, np.nan, np.nan) == "Unclear. Here no prompt counts."


def answer_many(*verdicts: tuple[str, str, str, float]) -> tuple[str, str]:
    claims = [
        {
            **SWEEP,
            "model": model,
            "dataset": dataset,
            "claim": CLAIMS["helps"].label,
            "verdict": verdict,
            "effect": effect,
        }
        for model, dataset, verdict, effect in verdicts
    ]
    return answer_question([pd.Series(row) for row in claims], {"claims": pd.DataFrame(claims)})


def test_several_sweeps_are_told_apart_by_what_differs() -> None:
    word, says = answer_many(("a", "d", "supported", 0.5), ("b", "d", "inconclusive", 0.0))
    assert word == "It depends"
    assert says.startswith("Yes for a (+65\u00a0%); unclear for b (0\u00a0%). In brackets")
    word, says = answer_many(*((f"m{number}", "d", "practically zero", number / 100) for number in range(5)))
    assert (word, says[: says.index(". In")]) == ("No", "No for 5 of 5 (0\u00a0% to +4\u00a0%)")


def test_a_study_without_curated_memories_asks_nothing() -> None:
    claims = pd.DataFrame(columns=[*SWEEP, "claim", "verdict"])
    assert answer_question([], {"claims": claims})[0] == "Not asked"
