"""Sweeps that score whole answers, with aliases: the best answer counts, and each is a cell of its own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench import Bench, assert_same, read_own_pairs, sweep
from memory_injections.data.answers import ALIASES
from memory_injections.models.tokenisation import Prompt
from memory_injections.sweeps.cell_plan import KeyedPrompts, hash_prompt
from memory_injections.sweeps.cells import KEY, WHOLE_SCORES, read_cells
from memory_injections.sweeps.grid import Sweep

pytestmark = pytest.mark.usefixtures("one_thread")
WHOLE = list(WHOLE_SCORES)
OTHERS = {0: ["the sea", "W"], 3: ["an old city of the north"]}


def of_whole_answers(*magnitudes: float) -> Sweep:
    return replace(sweep(magnitudes=list(magnitudes)), scores_whole=True)


def with_aliases() -> pd.DataFrame:
    aliases = [json.dumps(OTHERS.get(row, [])) for row in range(12)]
    return read_own_pairs(12).assign(**{ALIASES: aliases})


@pytest.fixture
def bench(tiny_models: dict[str, Path], tmp_path: Path) -> Bench:
    return Bench(tiny_models["gpt2"], tmp_path)


def test_the_best_of_an_answer_and_its_aliases_counts(bench: Bench) -> None:
    best, known, computed = bench.run(of_whole_answers(1.0, 8.0))
    assert (known, computed) == (0, 12 * 3 * 2)
    for number in range(2):
        pairs = read_own_pairs(12)
        pairs["answer"] = [
            [answer, *OTHERS.get(row, [])[number : number + 1]][-1] for row, answer in enumerate(pairs["answer"])
        ]
        bench.write_pairs(pairs)
        table = bench.run(of_whole_answers(1.0, 8.0), store="other")[0]
        assert best["prompt_id"].equals(table["prompt_id"])
        best[WHOLE] = np.maximum(best[WHOLE], table[WHOLE])
    bench.write_pairs(with_aliases())
    found, known, computed = bench.run(of_whole_answers(1.0, 8.0))
    # The answers' own cells are known; each of the three aliases is new at every site.
    assert (known, computed) == (12 * 3 * 2, 3 * 3 * 2)
    assert_same(found, best)
    assert bench.run(of_whole_answers(1.0, 8.0))[2] == 0


def test_whole_answers_and_first_tokens_have_stores_of_their_own(bench: Bench) -> None:
    whole = bench.run(of_whole_answers(1.0))[0]
    first, known, computed = bench.run(sweep(magnitudes=[1.0]))
    assert (known, computed) == (0, 12 * 3)
    pd.testing.assert_frame_equal(whole[first.columns], first, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert (whole["logp_whole_injected"] < whole["logp_injected"] + 1e-6).all()


def test_an_alias_that_cannot_be_scored_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    pairs = with_aliases()
    pairs.loc[5, ALIASES] = json.dumps(["very long " * 60])
    keyed = KeyedPrompts.of_pairs(pairs, bench.model.tokenizer, bench.model.engine.n_ctx)
    assert "1 aliases of answers" in caplog.text
    counts = keyed.answers["prompt"].value_counts()
    own = {row: hash_prompt(pair["obscure_prompt"], pair["answer"]) for row, pair in pairs.iterrows()}
    assert {row: counts[key] for row, key in own.items()} == {row: 1 + len(OTHERS.get(row, [])) for row in range(12)}
    assert all(isinstance(keyed.prompts[key], Prompt) for key in keyed.answers["key"])


def test_logs_of_the_whole_answer_are_read_in_the_place_of_the_first_tokens(bench: Bench, tmp_path: Path) -> None:
    table, *_ = bench.run(of_whole_answers(1.0))
    table.to_parquet(tmp_path / "cells.parquet")
    columns = ["prompt_id", "p_injected", "logp_obscure", "logp_injected"]
    read = {
        outcome: read_cells(tmp_path / "cells.parquet", columns, outcome) for outcome in ("first_token", "whole_answer")
    }
    pd.testing.assert_frame_equal(read["first_token"], table[columns])
    whole = read["whole_answer"]
    assert whole["logp_injected"].equals(table["logp_whole_injected"])
    assert whole["p_injected"].equals(table["p_injected"])
    assert set(KEY) <= set(table)
