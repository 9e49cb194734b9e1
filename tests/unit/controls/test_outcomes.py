"""Effects and verdicts by outcome, from cells and written answers that are known."""

from typing import Any

import pandas as pd
import pytest
from memory_injections.controls.contrasts import ON_OTHERS, ControlResults, tabulate_controls
from memory_injections.controls.outcomes import AT_DOSE, TABLES, tabulate_outcomes
from memory_injections.controls.sites import CHOSEN
from memory_injections.pages.control_tables import describe_disagreements

PROMPTS = range(20)
OF = {"model": "m", "dataset": "d", "encoding": "unembed", "relative": True}
PLACE = {**OF, "layer": 1, "magnitude": 0.1}
# What memories change, in nats: the first token and the whole answer, by control.
CHANGES = {"curated": (0.5, -0.4), "shuffled": (0.1, 0.2)}
WRITTEN = {"curated": 12, "shuffled": 4, "obscure": 8, "explicit": 16, "first_hop": 20, "in_context": 10}


def list_cells() -> list[dict[str, Any]]:
    cells = []
    for prompt_id in PROMPTS:
        for control, (first, whole) in CHANGES.items():
            jitter = 0.01 * (prompt_id % (5 if control == "curated" else 4) - 2)
            scores = {
                "logp_obscure": -3.0, "logp_injected": -3.0 + first + jitter, "logp_whole_obscure": -200.0,
                "logp_whole_injected": -200.0 + whole + jitter, "logp_others": -5.0, "rank_injected": 1,
            }  # fmt: skip
            of = {**PLACE, "prompt_id": prompt_id, "control": control, "draw": 0, "positions": "all", **scores}
            cells += [of | {"part": "sites"}, of | {"part": "doses", "magnitude": 0.3}]
    return cells


def is_right(control: str, prompt_id: int) -> bool:
    """Whether an answer is right that is written: the first ones; under the memory the last ones."""
    number = len(PROMPTS) - 1 - prompt_id if control == "curated" else prompt_id
    return number < WRITTEN[control]


@pytest.fixture(scope="module")
def results() -> ControlResults:
    sites = [{**PLACE, "prompt_id": row, "name": CHOSEN, "weight": 1.0, "weight_any": 0.0} for row in PROMPTS]
    texts = [
        {**OF, "prompt_id": row, "text": text, "logp": -3 + gain, "logp_whole": -200 + 2 * gain, "rank": row,
         "is_right": is_right(text, row)}
        for row in PROMPTS
        for text, gain in {"obscure": 0, "explicit": 1 + 0.01 * (row % 3), "in_context": 2, "first_hop": 0}.items()
    ]  # fmt: skip
    written = [
        {
            **PLACE,
            "chosen_encoding": "unembed",
            "prompt_id": row,
            "control": control,
            "is_right": is_right(control, row),
        }
        for control in CHANGES
        for row in PROMPTS
    ]
    pairs = pd.DataFrame({"prompt_id": PROMPTS, "memory": [f"m{row}" for row in PROMPTS], "answer": "C"})
    prompts = [f"m{row} is {row} in" for row in PROMPTS]  # all ask for something else
    pairs = pairs.assign(explicit_prompt=prompts, obscure_prompt="It is in")
    kinds = ("shuffled", "in_context", "opposite")
    frames = (pd.DataFrame(list_cells()), pd.DataFrame(sites), pd.DataFrame(texts))
    return ControlResults(*frames, pairs, kinds, 0, written=pd.DataFrame(written))


@pytest.fixture(scope="module")
def tables(results: ControlResults) -> dict[str, pd.DataFrame]:
    return tabulate_outcomes([results], 0.1)


def test_effects_and_contrasts_by_outcome(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["outcomes"]
    assert list(table) == TABLES["outcomes"]
    assert set(table["site"]) == {ON_OTHERS, CHOSEN, AT_DOSE}
    here = table[table["site"] == ON_OTHERS].set_index(["outcome", "control"])
    expected = {
        ("first_token", "curated"): 0.5, ("first_token", "shuffled"): 0.095, ("first_token", "in_context"): 2.0,
        ("whole_answer", "curated"): -0.4, ("whole_answer", "shuffled"): 0.195, ("whole_answer", "in_context"): 4.0,
        ("generation", "curated"): 0.6, ("generation", "shuffled"): 0.2, ("generation", "obscure"): 0.4,
        ("generation", "explicit"): 0.8, ("generation", "in_context"): 0.5,
    }  # fmt: skip
    for key, effect in expected.items():
        assert here.loc[key, "effect"] == pytest.approx(effect)
    assert {control for _, control in here.index} == {"curated", "shuffled", "obscure", "explicit", "in_context"}
    assert here.loc[("whole_answer", "shuffled"), "contrast"] == pytest.approx(-0.595)
    assert here.loc[("generation", "obscure"), "contrast"] == pytest.approx(0.2)
    assert (here["n"] == 20).all()
    doses = table[table["site"] == AT_DOSE]
    assert set(doses["magnitude"]) == {0.3}
    assert set(doses["outcome"]) == {"first_token", "whole_answer"}


def test_verdicts_by_outcome(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["by_outcome"].set_index("outcome")
    assert table["verdict"].to_dict() == {
        "first_token": "supported", "whole_answer": "opposite", "generation": "inconclusive",
    }  # fmt: skip
    assert table["before"].to_dict() == pytest.approx({"first_token": -3, "whole_answer": -200, "generation": 0.4})
    # 12 are right after the memory, 8 before, none both times.
    counts = table.loc["generation", ["n_rescued", "n_wrong", "n_broken", "n_right"]]
    assert counts.tolist() == [12, 12, 8, 8]
    (sentence,) = describe_disagreements(tables["by_outcome"])
    assert "first token supported (+0.50), whole answer opposite (-0.40), generation inconclusive (+0.20)" in sentence
    assert describe_disagreements(tables["by_outcome"].iloc[:1]) == []


def test_both_hops_by_what_is_written(results: ControlResults) -> None:
    table = tabulate_controls([results], (1,))["both_hops"]
    by_rank, written = (table[table["known_by"] == name].set_index("control") for name in ("rank", "written"))
    assert set(by_rank["known_rank"]) == {1}
    row = written.loc["curated"]
    # The first 16 are known; of these, 8 are right already and none afterwards, and all others are rescued.
    assert row[["n_both", "n_missed", "n_rescued", "n_hit", "n_broken"]].tolist() == [16, 8, 8, 8, 8]
    assert written.loc["in_context", ["n_rescued", "n_broken"]].tolist() == [2, 0]


def test_without_written_answers_there_are_no_rows_of_them(results: ControlResults) -> None:
    texts = results.texts.drop(columns="is_right")
    frames = (results.cells, results.sites, texts, results.pairs)
    found = tabulate_outcomes([ControlResults(*frames, results.kinds, 0)], 0.1)
    assert set(found["outcomes"]["outcome"]) == set(found["by_outcome"]["outcome"]) == {"first_token", "whole_answer"}
