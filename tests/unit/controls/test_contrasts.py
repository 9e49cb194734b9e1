"""Tables of controls, from cells with known effects."""

from typing import Any

import pandas as pd
import pytest
from memory_injections.controls.contrasts import DIFFERENCE, TABLES, ControlResults, tabulate_controls
from memory_injections.controls.sites import CHOSEN

PROMPTS = range(12)
OF = {"model": "m", "dataset": "d"}
BEFORE = -3.0
# Effects in nats of curated memories, and of the two draws of shuffled ones, at two sites of layer 1.
EFFECTS = {1.0: {"curated": (0.5,), "shuffled": (0.1, 0.3)}, 2.0: {"curated": (0.9,), "shuffled": (1.0, 1.0)}}


def make_cell(prompt_id: int, effect: float, **columns: Any) -> dict[str, Any]:
    jitter = 0.01 * (prompt_id % 3 - 1) * (1 if columns["control"] == "curated" else 2)
    after = BEFORE + effect + jitter
    ranks = {"rank_obscure": 0 if prompt_id < 3 else 20, "rank_injected": 0 if effect > 0.4 else 20}
    defaults = {"encoding": "unembed", "relative": False, "layer": 1, "positions": "all", "part": "sites", "draw": 0}
    logp = {"logp_obscure": BEFORE, "logp_injected": after, "logp_others": BEFORE - 2 + effect / 2}
    return {**OF, **defaults, "prompt_id": prompt_id, **logp, **ranks, **columns}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Half of the prompts choose one site, half the other; the first one has a name."""
    cells, sites, texts = [], [], []
    for prompt_id in PROMPTS:
        for magnitude, effects in EFFECTS.items():
            if magnitude == 1.0 or prompt_id % 2:
                for control, draws in effects.items():
                    for draw, effect in enumerate(draws):
                        cells.append(make_cell(prompt_id, effect, magnitude=magnitude, control=control, draw=draw))
        for part, place in (("positions", {"magnitude": 1.0, "positions": "last"}),
                            ("doses", {"magnitude": 0.1, "relative": True})):  # fmt: skip
            for control, effect in (("curated", 0.2), ("shuffled", 0.3)):
                cells.append(make_cell(prompt_id, effect, part=part, control=control, **place))
        is_odd = prompt_id % 2
        sites.append({"prompt_id": prompt_id, "magnitude": 1.0, "name": CHOSEN, "weight": 1 - 0.5 * is_odd})
        if is_odd:
            sites.append({"prompt_id": prompt_id, "magnitude": 2.0, "name": "", "weight": 0.5})
        for text, logp in {"obscure": -3.0, "explicit": -2.0, "in_context": -1.0, "first_hop": -0.5,
                           "without_entity": -0.5}.items():  # fmt: skip
            rank = {"obscure": 0 if prompt_id < 3 else 20, "without_entity": prompt_id}.get(text, 0)
            rank = prompt_id % 4 if text == "first_hop" else rank
            jitter = 0.1 * (prompt_id % 3 - 1) if text != "obscure" else 0
            texts.append({"prompt_id": prompt_id, "text": text, "logp": logp + jitter, "rank": rank})
    memories = [f"m{prompt_id // 2}" for prompt_id in PROMPTS]
    prompts = [f"{memory} is {prompt_id}" for prompt_id, memory in enumerate(memories)]
    pairs = pd.DataFrame({"prompt_id": PROMPTS, "memory": memories, "explicit_prompt": prompts, "answer": "1815"})
    pairs["obscure_prompt"] = ["It was in 1815" if prompt_id == 2 else "It was in" for prompt_id in PROMPTS]
    results = ControlResults(
        pd.DataFrame(cells),
        # Prompts with odd numbers choose the other site among all encodings.
        pd.DataFrame(sites).assign(
            encoding="unembed",
            relative=False,
            layer=1,
            **OF,
            weight_any=lambda sites: (sites["magnitude"] == 1 + sites["prompt_id"] % 2).astype(float),
        ),
        pd.DataFrame(texts).assign(**OF),
        pairs,
        ("shuffled", "in_context", "opposite"),
        0,
    )
    return tabulate_controls([results], (1, 5))


def test_contrasts_at_sites_with_a_name(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["controls"]
    assert list(table.columns) == TABLES["controls"]
    assert table["control"].tolist() == ["shuffled", "in_context"]
    assert table["effect"].tolist() == pytest.approx([0.2, 2.0])
    assert table["contrast"].tolist() == pytest.approx([0.3, -1.5])
    assert table["curated_effect"].tolist() == pytest.approx([0.5, 0.5])
    assert (table["low"] <= table["contrast"]).all()
    assert (table["contrast"] <= table["high"]).all()
    assert table[["n", "n_clusters"]].to_numpy().tolist() == [[12, 6]] * 2
    assert (table["p_holm"] >= table["p"]).all()
    assert table["recovery_explicit"].tolist() == pytest.approx([0.5, 0.5])
    assert table["recovery_in_context"].tolist() == pytest.approx([0.25, 0.25])


def test_every_prompt_counts_at_the_sites_that_others_choose_for_it(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["control_contrasts"].query("encoding == 'unembed'").set_index("memories")
    even, odd = 0.5 - 0.2, 0.5 * (0.5 - 0.2) + 0.5 * (0.9 - 1.0)
    assert table.loc["shuffled", "effect"] == pytest.approx((even + odd) / 2)
    assert table.loc["shuffled", "curated_effect"] == pytest.approx((0.5 + 0.7) / 2)
    assert table.loc["shuffled", "control_effect"] == pytest.approx((0.2 + 0.6) / 2)
    assert table.loc["shuffled", ["layer", "magnitude", "chosen_by"]].tolist() == [1, 1.0, 0.75]
    assert table.loc["in_context", "effect"] == pytest.approx(0.6 - 2)


def test_sites_chosen_among_all_encodings_have_rows_of_their_own(tables: dict[str, pd.DataFrame]) -> None:
    contrast = tables["control_contrasts"].query("encoding == 'any'").set_index("memories").loc["shuffled"]
    assert contrast["effect"] == pytest.approx((0.5 - 0.2 + 0.9 - 1.0) / 2)
    assert contrast[["chosen_encoding", "layer", "chosen_by"]].tolist() == ["unembed", 1, 0.5]


def test_specificity_is_a_double_difference(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["specificity"].set_index("encoding")
    even, odd = 0.5 - 0.2, 0.5 * (0.5 - 0.2) + 0.5 * (0.9 - 1.0)
    row = table.loc["unembed"]
    assert row["own_answer"] == pytest.approx((even + odd) / 2)
    assert row["other_answers"] == pytest.approx((even + odd) / 4)
    assert row["effect"] == pytest.approx(row["own_answer"] - row["other_answers"])
    assert table.loc["any", "effect"] == pytest.approx((0.3 - 0.1) / 4)


def test_positions_and_doses_compare_curated_with_shuffled(tables: dict[str, pd.DataFrame]) -> None:
    positions = tables["positions"].set_index(["positions", "control"])["effect"]
    assert positions["last"].to_dict() == pytest.approx({"curated": 0.2, "shuffled": 0.3, DIFFERENCE: -0.1})
    # The first draw alone, as at other positions.
    assert positions["all"].to_dict() == pytest.approx({"curated": 0.5, "shuffled": 0.1, DIFFERENCE: 0.4})
    doses = tables["doses"]
    places = doses[["encoding", "relative", "layer", "dose"]].drop_duplicates()
    assert places.to_numpy().tolist() == [["unembed", True, 1, 0.1]]
    assert doses["effect"].tolist() == pytest.approx([0.2, 0.3, -0.1])


def test_failures_with_both_hops_known(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["both_hops"].set_index(["control", "known_rank"])
    # The first hop is known at rank 0 for prompts 0, 4 and 8, of which only prompt 0 hits before the injection.
    curated = table.loc["curated", 1]
    counts = ["n_first_hop", "n_second_hop", "n_both", "n_missed", "n_rescued", "n_hit", "n_broken"]
    assert curated[counts].tolist() == [3, 12, 3, 2, 2, 1, 0]
    assert table.loc[("shuffled", 1), counts].tolist() == [3, 12, 3, 2, 0, 1, 1]
    assert table.loc[("curated", 5), counts].tolist() == [12, 12, 12, 9, 9, 3, 0]
    assert table.loc[("in_context", 1), counts].tolist() == [3, 12, 3, 2, 2, 1, 0]


def test_shortcuts(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["shortcuts"].set_index("prompt_id")
    assert table.index[table["words"]].tolist() == [2]
    assert table.index[table["without_entity"]].tolist() == [0]
    assert table["rank_without_entity"].tolist() == list(PROMPTS)
    assert not table["without_relation"].any()
    assert table["rank_without_relation"].isna().all()  # no prompt has such a text
