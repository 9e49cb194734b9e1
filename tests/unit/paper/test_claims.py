"""Verdicts on the paper's claims, from tables of evidence with known numbers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.averages import AVERAGES
from memory_injections.analysis.evidence import ALL_RANDOM
from memory_injections.paper.claims import CLAIMS, judge_claims
from memory_injections.paper.reported import name_site
from memory_injections.sweeps.identity import SweepId

MARGIN = 0.1
SWEEP = SweepId("gpt2", "2wmh", "curated", "unembed")
PAPER: dict[str, Any] = {
    "headline": {"percent": 424, "sweeps": [["gpt2", "2wmh"]]},
    "sites": {"gpt2": {"2wmh": [5, 5]}},
}
ID = {"model": "gpt2", "dataset": "2wmh", "encoding": "unembed", "relative": False}


def estimate(effect: float, half: float = 0.1, p: float = 0.001) -> dict[str, float]:
    ends = {"low": effect - half, "high": effect + half, "low_99": effect - 1.3 * half, "high_99": effect + 1.3 * half}
    return {"effect": effect, **ends, "p": p, "n_prompts": 50, "n_clusters": 40}


def tables(effect: float = 0.4, contrast: float = 0.3, **changes: Any) -> dict[str, pd.DataFrame]:
    grid = {"p_above": 0.002, "p_below": 0.9, "n_sites": 2}
    gain = {"hits_gain": 0.38, "hits_low": 0.2, "hits_high": 0.5, "hits_p": 1e-5}
    hits = {"n_missed": 40, "n_rescued": 20, "n_hit": 10, "n_broken": 1, **gain}
    row = {
        **ID,
        "memories": "curated",
        **estimate(effect),
        **grid,
        **hits,
        "layer": 6,
        "magnitude": 3.0,
        "chosen_encoding": "unembed",
        **changes,
    }
    where = {"layer": 7, "magnitude": 2.0, "chosen_encoding": "unembed", "curated_effect": 0.2, "random_effect": -0.1}
    random = {**ID, **estimate(contrast), **grid, **where, "n_better": 1, "n_worse": 0}
    percents = dict.fromkeys(AVERAGES, 10.0) | {"mean_within_2sd": 423.7, "median": -23.7}
    sites = [
        {**ID, "memories": "curated", "layer": 5, "magnitude": 5.0, "effect": -0.5, "n_prompts": 50, **percents},
        {**ID, "memories": "curated", "layer": 0, "magnitude": 1.0, "effect": 0.1, "n_prompts": 50}
        | dict.fromkeys(AVERAGES, 475.2),
    ]
    return {
        "evidence": pd.DataFrame([row]),
        "contrasts": pd.DataFrame([{**random, "memories": kind} for kind in ("nouns", ALL_RANDOM)]),
        "explicit_prompts": pd.DataFrame([{**ID, **estimate(-0.3), "p_explicit": 0.1, "p_obscure": 0.2}]),
        "sites": pd.DataFrame(sites),
    }


def judge(**arguments: Any) -> pd.DataFrame:
    return judge_again(tables(**arguments))


def judge_again(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return judge_claims(found, PAPER, {}, MARGIN).set_index("claim")


def test_claims_about_effects() -> None:
    table = judge()
    assert table.loc[CLAIMS["explicit"].label, "verdict"] == "opposite"
    assert table.loc[CLAIMS["helps"].label, "verdict"] == "supported"
    assert table.loc[CLAIMS["random"].label, "verdict"] == "supported"
    assert table.loc[CLAIMS["failures"].label, "verdict"] == "supported"
    helps = table.loc[CLAIMS["helps"].label]
    assert helps["p"] == 0.004  # the grid's, in either direction, is larger than those of the estimates
    assert helps["p_holm"] == pytest.approx(2 * 0.004)
    assert (
        "+0.40 nats [+0.30, +0.50]; the difference from all random words is +0.30 nats [+0.20, +0.40]"
        in helps["evidence"]
    )
    assert f"(most often {name_site(7, 2)}): +0.20 against -0.10 nats" in helps["evidence"]
    assert name_site(6, 3) == "layer 6 (7 counted from 1), magnitude 3"
    assert name_site(6, 3) in helps["evidence"]


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ({"contrast": 0.05}, "inconclusive"),
        ({"effect": -0.4, "contrast": -0.3, "p_below": 0.001}, "opposite"),
        ({"effect": -0.4, "contrast": -0.3}, "inconclusive"),
        ({"p_above": 0.2}, "inconclusive"),
    ],
)
def test_the_memory_helps_only_if_it_beats_random_words_and_the_grid(arguments: dict[str, Any], verdict: str) -> None:
    if verdict == "opposite":
        found = tables(**arguments)
        found["contrasts"]["p_below"] = 0.001
        assert judge_again(found).loc[CLAIMS["helps"].label, "verdict"] == verdict
    else:
        assert judge(**arguments).loc[CLAIMS["helps"].label, "verdict"] == verdict


def test_in_a_study_with_controls_the_memory_has_to_beat_shuffled_memories() -> None:
    found = tables()
    where = {"layer": 7, "magnitude": 2.0, "chosen_encoding": "unembed", "curated_effect": 0.4, "control_effect": 0.38}
    shuffled = {**ID, **estimate(0.02), **where}
    others = [{**shuffled, "memories": "opposite", **estimate(0.9)}, {**shuffled, "memories": "shuffled"}]
    table = judge_again(found | {"control_contrasts": pd.DataFrame(others)})
    assert table.loc[CLAIMS["helps"].label, "verdict"] == "inconclusive"
    assert (
        "the difference from other prompts' memories is +0.02 nats [-0.08, +0.12]"
        in table.loc[CLAIMS["helps"].label, "evidence"]
    )
    assert "+0.40 against +0.38 nats" in table.loc[CLAIMS["helps"].label, "evidence"]
    assert table.loc[CLAIMS["random"].label, "verdict"] == "supported"
    others[1] |= estimate(0.3)
    found["contrasts"] = found["contrasts"].head(0)
    table = judge_again(found | {"control_contrasts": pd.DataFrame(others)})
    assert table.loc[CLAIMS["helps"].label, "verdict"] == "supported"
    without = judge_claims(found | {"control_contrasts": pd.DataFrame(others[:1])}, PAPER, {}, MARGIN).set_index(
        "claim"
    )
    assert without.loc[CLAIMS["helps"].label, "verdict"] == "inconclusive"


def test_matched_doses_have_verdicts_of_their_own() -> None:
    found = tables()
    evidence = found["evidence"]
    matched = evidence.assign(relative=True, effect=0.02, low_99=-0.03, high_99=0.07)
    found["evidence"] = pd.concat(
        [evidence, matched.assign(encoding="unembed"), matched.assign(encoding="any", chosen_encoding="embed", layer=8)]
    )
    contrast = found["contrasts"].assign(relative=True, encoding="any", effect=0.01, low_99=-0.04, high_99=0.06)
    found["contrasts"] = pd.concat([found["contrasts"], contrast])
    table = judge_claims(found, PAPER, {}, MARGIN)
    helps = table[table["claim"] == CLAIMS["helps"].label].set_index("relative")
    assert helps["verdict"].to_dict() == {False: "supported", True: "practically zero"}
    assert helps["encoding"].to_dict() == {False: "unembed", True: "any"}
    assert "most often layer 8 (9 counted from 1), dose 3, encoding embed" in helps.loc[True, "evidence"]
    assert helps.loc[True, "figure"] == "effect.gpt2.2wmh.curated.embed_relative.png"
    assert (table["claim"] == CLAIMS["explicit"].label).sum() == 1  # it has no doses
    assert not table.loc[table["claim"] == CLAIMS["site"].label, "relative"].any()
    flagged = judge_claims(found, PAPER, {SWEEP: "scores a bare space"}, MARGIN)
    assert set(flagged["relative"].dropna()) == {True}


def test_specificity_is_a_claim() -> None:
    row = {**ID, **estimate(0.3), "layer": 7, "magnitude": 2.0, "chosen_encoding": "unembed"}
    specificity = pd.DataFrame([{**row, "own_answer": 0.25, "other_answers": -0.05}])
    table = judge_again(tables() | {"specificity": specificity})
    assert table.loc[CLAIMS["specific"].label, "verdict"] == "supported"
    assert "does +0.25 nats for the prompt's answer and -0.05" in table.loc[CLAIMS["specific"].label, "evidence"]
    assert CLAIMS["specific"].label not in judge().index


def test_breaking_more_than_rescuing_is_the_opposite() -> None:
    assert judge(hits_gain=-0.2, hits_p=0.001).loc[CLAIMS["failures"].label, "verdict"] == "opposite"
    assert judge(hits_p=0.2).loc[CLAIMS["failures"].label, "verdict"] == "inconclusive"
    assert CLAIMS["failures"].label not in judge(hits_gain=np.nan).index


def test_where_only_failures_count_correcting_them_is_no_test() -> None:
    found = tables(n_hit=0, n_broken=0)
    part = judge_claims(found, PAPER, {}, MARGIN, "composition_missed").set_index("claim")
    row = part.loc[CLAIMS["failures"].label]
    assert row["verdict"] == "inconclusive"
    assert np.isnan(row["p_holm"])
    assert row["evidence"].startswith("20 of 40 wrong answers are rescued at sites chosen on other prompts; only wrong")
    assert part.loc[CLAIMS["helps"].label, "verdict"] == "supported"


def test_without_a_prompt_that_counts_there_is_no_verdict() -> None:
    none = dict.fromkeys((*estimate(0), "layer", "magnitude", "hits_gain"), np.nan) | {"n_prompts": 0, "n_clusters": 0}
    found = tables(**none) | {"contrasts": tables()["contrasts"].head(0)}
    row = judge_again(found).loc[CLAIMS["helps"].label]
    assert row["verdict"] == "inconclusive"
    assert row["n_prompts"] == 0
    assert row["evidence"] == "no prompt is in the part of the data that verdicts are about"


def compare_heads(explicit: tuple[int, int], chance: tuple[int, int], p: float) -> pd.DataFrame:
    """Of 50 pairs: those with an informative head after one prompt only, and those with one above chance only."""
    rows = [
        {"prompt_kind": kind, "against": against, "n_only": only, "n_against_only": other}
        for kind, against, (only, other) in (
            ("explicit", "obscure", explicit), ("explicit", "chance", chance), ("obscure", "chance", (1, 1))
        )
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(**ID, n_prompts=50, n_both=5, n_clusters=40, p=p, p_mcnemar=p)
    table["difference"] = (table["n_only"] - table["n_against_only"]) / 50
    return pd.concat([table.assign(target="answer", p=1.0), table.assign(target="any")], ignore_index=True)


@pytest.mark.parametrize(
    ("heads", "verdict"),
    [
        (compare_heads((20, 2), (18, 1), 1e-4), "supported"),
        (compare_heads((20, 2), (18, 1), 0.06), "inconclusive"),
        (compare_heads((20, 2), (1, 18), 1e-4), "inconclusive"),
        (compare_heads((2, 20), (18, 1), 1e-4), "inconclusive"),  # obscure prompts: no more than by chance
    ],
)
def test_heads_tell_more_after_explicit_prompts_only_if_they_beat_chance(heads: pd.DataFrame, verdict: str) -> None:
    table = judge_claims(tables() | {"informative_contrasts": heads}, PAPER, {}, MARGIN).set_index("claim")
    row = table.loc[CLAIMS["heads"].label]
    assert row["verdict"] == verdict
    assert "of 50 pairs, 5 have an informative head after both prompts" in row["evidence"]
    assert CLAIMS["heads"].label not in judge().index


def test_the_papers_numbers() -> None:
    table = judge()
    headline = table.loc[CLAIMS["headline"].label.format(424)]
    assert headline["verdict"] == "reproduced"
    assert "+423.7 % by the paper's average; by others: mean +10.0 %" in headline["evidence"]
    site = table.loc[CLAIMS["site"].label]
    assert site["verdict"] == "not reproduced"
    assert "is number 2 of 2 sites by the paper's average" in site["evidence"]
    elsewhere = judge_claims(tables(), {**PAPER, "sites": {}}, {}, MARGIN)
    assert set(elsewhere["claim"]) == {CLAIMS[name].label for name in ("explicit", "helps", "random", "failures")}


def test_without_random_words_nothing_is_said_of_the_memory() -> None:
    found = tables()
    found["contrasts"] = found["contrasts"].head(0)
    table = judge_again(found)
    assert table.loc[CLAIMS["helps"].label, "verdict"] == "inconclusive"
    assert "no random words to compare with" in table.loc[CLAIMS["helps"].label, "evidence"]
    assert CLAIMS["random"].label not in table.index


def test_no_kind_of_random_words_is_picked() -> None:
    found = tables()
    found["contrasts"] = pd.concat([found["contrasts"].head(1)] * 2).assign(memories=["adverbs", "nouns"])
    assert judge_again(found).loc[CLAIMS["helps"].label, "verdict"] == "inconclusive"
    found["contrasts"] = found["contrasts"].head(1)
    assert judge_again(found).loc[CLAIMS["helps"].label, "verdict"] == "supported"


def test_flagged_sweeps_do_not_count() -> None:
    assert judge_claims(tables(), PAPER, {SWEEP: "scores a bare space"}, MARGIN).empty
