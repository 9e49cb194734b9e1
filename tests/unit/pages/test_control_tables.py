"""The rows of the tables of controls that the report shows."""

import numpy as np
import pandas as pd
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.pages.control_tables import describe_written, shorten_tables

PLACE = {"model": "tiny", "dataset": "mine", "encoding": "unembed", "relative": False, "layer": 3}
SHORTCUTS = pd.DataFrame(
    {
        "model": "tiny", "dataset": "mine", "words": [True, False, False], "without_entity": [True, True, False],
        "without_relation": False,
    }
)  # fmt: skip

OUTCOMES = pd.DataFrame(
    [("first_token", 0.5, None, None, None, None), ("generation", 0.1, 2, 58, 3, 14)],
    columns=["outcome", "effect", "n_rescued", "n_wrong", "n_broken", "n_right"],
).assign(model="tiny", dataset="mine", encoding="any")


def effects(place: str, values: dict[float | str, tuple[float, float]]) -> pd.DataFrame:
    """Effects of curated and shuffled memories at some places, and their difference."""
    rows = []
    for name, (curated, shuffled) in values.items():
        for control, effect in (("curated", curated), ("shuffled", shuffled), (DIFFERENCE, curated - shuffled)):
            numbers = {"effect": effect, "low": effect - 1, "high": effect + 1, "p": 0.5, "n_prompts": 4}
            rows.append({**PLACE, "magnitude": 2.0, place: name, "control": control, **numbers})
    return pd.DataFrame(rows)


def test_a_row_for_each_position_and_the_best_dose() -> None:
    hops = pd.DataFrame({"control": ["curated", "shuffled", "opposite", "in_context"], "known_rank": 1})
    tables = {
        "positions": effects("positions", {"all": (0.5, 0.2), "last": (0.1, 0.3)}),
        "doses": effects("dose", {0.1: (0.2, 0.0), 0.3: (0.4, 0.6), 1.0: (-2.0, -4.0)}),
        "both_hops": hops,
        "shortcuts": SHORTCUTS,
        "by_outcome": OUTCOMES,
    }
    short = shorten_tables(tables)
    assert list(short["positions"]["positions"]) == ["all", "last"]
    np.testing.assert_allclose(
        short["positions"][["curated_effect", "control_effect", "effect"]].iloc[1], [0.1, 0.3, -0.2]
    )
    np.testing.assert_allclose(short["positions"][["low", "high"]].iloc[0], [-0.7, 1.3])
    assert list(short["doses"]["dose"]) == [0.3]
    assert list(short["both_hops"]["control"]) == ["curated", "shuffled", "in_context"]
    (row,) = short["shortcuts"].to_dict("records")
    assert (row["model"], row["dataset"], row["n_prompts"]) == ("tiny", "mine", 3)
    assert (row["n_words"], row["n_without_entity"], row["n_without_relation"]) == (1, 2, 0)


def test_written_answers_are_counted_in_a_sentence() -> None:
    (sentence,) = describe_written(OUTCOMES)
    assert sentence == (
        "Of the answers that tiny writes on mine, memories with the encoding any rescue 2 of 58 wrong ones and break 3 "
        "of 14 right ones."
    )
    assert describe_written(None) == []


def test_without_shuffled_memories_the_difference_is_missing() -> None:
    tables = {
        name: effects(place, {1.0: (0.5, 0.2)}) for name, place in (("positions", "positions"), ("doses", "dose"))
    }
    own = {name: table[table["control"] == "curated"] for name, table in tables.items()}
    others = {"both_hops": pd.DataFrame({"control": ["curated"]}), "shortcuts": SHORTCUTS, "by_outcome": OUTCOMES}
    short = shorten_tables({**own, **others})
    assert short["doses"]["curated_effect"].tolist() == [0.5]
    assert short["doses"]["effect"].isna().all()


def test_a_study_without_controls_has_none_of_these() -> None:
    assert shorten_tables({"evidence": pd.DataFrame()}) == {}
