"""Verdicts at other encodings and doses, beside the one that a claim is weighed by."""

from typing import Any

import pandas as pd
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.controls.other_choices import judge_other_choices
from memory_injections.sweeps.identity import SweepId

MARGIN = 0.1
OF = {"model": "m", "dataset": "d", "relative": True}


def estimate(effect: float, half: float, **columns: Any) -> dict[str, Any]:
    ends = {"low": effect - half, "high": effect + half, "low_99": effect - 1.3 * half, "high_99": effect + 1.3 * half}
    return {**OF, "effect": effect, **ends, "p": 0.001, "p_above": 0.001, "n_prompts": 50, **columns}


def tables() -> dict[str, pd.DataFrame]:
    site = {"memories": "curated", "layer": 3, "magnitude": 0.1}
    evidence = [estimate(0.3, 0.1, encoding=name, **site) for name in ("any", "unembed", "embed", "layer")]
    shuffled = {"encoding": "unembed", "memories": "shuffled"}
    random = {"encoding": "embed", "memories": "nouns"}
    return {
        "evidence": pd.DataFrame(evidence),
        "control_contrasts": pd.DataFrame([estimate(0.2, 0.1, **shuffled)]),
        "contrasts": pd.DataFrame([estimate(0.01, 0.02, **random)]),
        "doses": pd.DataFrame(
            [
                estimate(effect, 0.02, encoding="unembed", layer=3, dose=dose, control=control)
                for dose, effect in ((0.03, 0.01), (0.3, -0.4))
                for control in ("curated", "shuffled", DIFFERENCE)
            ]
        ),
    }


def test_each_choice_is_judged_by_effect_and_contrast() -> None:
    found = judge_other_choices(tables(), [], MARGIN)
    by_encoding = found[found["choice"] == "encoding"].set_index("encoding")
    # Without shuffled memories, random words are the contrast; without either, nothing is said.
    assert by_encoding["verdict"].to_dict() == {
        "unembed": "supported", "embed": "inconclusive", "layer": "inconclusive",
    }  # fmt: skip
    assert by_encoding["contrast"].dropna().to_dict() == {"unembed": 0.2, "embed": 0.01}
    doses = found[found["choice"] == "dose"].set_index("magnitude")
    assert doses["verdict"].to_dict() == {0.03: "practically zero", 0.3: "opposite"}


def test_neither_the_claims_own_choice_nor_a_flagged_sweep_is_another_choice() -> None:
    single = tables()
    single["evidence"] = single["evidence"][single["evidence"]["encoding"] == "unembed"]
    assert set(judge_other_choices(single, [], MARGIN)["choice"]) == {"dose"}
    flagged = SweepId("m", "d", "curated", "embed", relative=True)
    assert "embed" not in set(judge_other_choices(tables(), [flagged], MARGIN)["encoding"])
