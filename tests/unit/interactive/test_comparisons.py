"""The controls of one prompt are the injections that their names say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from memory_injections import Injector
from memory_injections.errors import StudyError
from memory_injections.interactive.comparisons import inject_controls

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPT, MEMORY, ANSWER, OTHER = "The author of Das Kapital is buried in the city of", "Karl Marx", "London", "Adam"
SITE: dict[str, Any] = {"layer": 1, "answer": ANSWER}


@pytest.fixture(scope="module")
def injector(tiny_models: dict[str, Path]) -> Injector:
    return Injector.load(tiny_models["gpt2"], "cpu")


@pytest.fixture(scope="module")
def table(injector: Injector) -> pd.DataFrame:
    options: dict[str, Any] = {"magnitude": 0.2, "others": [OTHER], "words": ["table"], "draws": 5}
    return inject_controls(injector, PROMPT, MEMORY, **SITE, **options).set_index("control")


def effect(injector: Injector, memory: str, magnitude: float) -> float:
    answer = injector.inject(PROMPT, memory, **SITE, magnitude=magnitude).answer
    assert answer is not None
    return float(np.log(answer["p_injected"] / answer["p_obscure"]))


def test_rows_are_the_injections_that_they_name(injector: Injector, table: pd.DataFrame) -> None:
    found = table.loc[["curated", "shuffled", "opposite"], "effect"]
    expected = [effect(injector, MEMORY, 0.2), effect(injector, OTHER, 0.2), effect(injector, MEMORY, -0.2)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(table["contrast"], table["effect"].iloc[0] - table["effect"])
    assert table["n"].to_dict() == {**dict.fromkeys(table.index, 1), "random_direction": 5}
    before = injector.inject(PROMPT, MEMORY, **SITE).answer
    in_front = injector.inject(f"{MEMORY}. {PROMPT}", MEMORY, **SITE).answer
    assert before is not None
    assert in_front is not None
    assert table.loc["in_context", "p_injected"] == pytest.approx(in_front["p_obscure"], rel=1e-4)
    assert table.loc["in_context", "effect"] == pytest.approx(
        np.log(in_front["p_obscure"] / before["p_obscure"]), abs=1e-4
    )


def test_a_vector_of_the_answer_raises_it_more_than_one_without_it(table: pd.DataFrame) -> None:
    assert table.loc["answer", "effect"] > table.loc["without_answer", "effect"]
    assert table.loc["answer", "effect"] > 0


def test_what_cannot_be_injected_is_one_sentence(injector: Injector) -> None:
    for wrong in ({"draws": 0}, {"others": [" "]}, {"layer": 99}, {"encoding": "sum"}):
        with pytest.raises(StudyError):
            inject_controls(injector, PROMPT, MEMORY, **{**SITE, **wrong})
    with pytest.raises(StudyError, match="draws is 0; give a whole number from 1"):
        injector.inject(PROMPT, MEMORY, **SITE, other=OTHER, draws=0)


def test_an_injection_has_the_same_controls_beside_it(injector: Injector) -> None:
    asked: dict[str, Any] = {**SITE, "magnitude": 0.2, "draws": 1, "seed": 3}
    table = inject_controls(injector, PROMPT, MEMORY, others=[OTHER], **asked).set_index("control")
    found = injector.inject(PROMPT, MEMORY, other=OTHER, **asked).answer
    assert found is not None
    for name, control in (("injected", "curated"), ("shuffled", "shuffled"), ("random", "random_direction")):
        assert found[f"p_{name}"] == pytest.approx(table.loc[control, "p_injected"], rel=1e-4)
    assert table["p_injected"].nunique() == len(table)
