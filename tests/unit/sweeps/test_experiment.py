"""A sweep that is repeated, extended or edited computes only what is missing, and ends with the same table."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench import MAGNITUDES, Bench, assert_same, read_own_pairs, sweep
from memory_injections.sweeps.cells import SCHEMA, WHOLE_SCORES
from memory_injections.sweeps.experiment import describe_context
from memory_injections.sweeps.grid import Sweep

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def bench(tiny_models: dict[str, Path], tmp_path: Path) -> Bench:
    return Bench(tiny_models["gpt2"], tmp_path)


def test_a_table_has_every_cell_in_order(bench: Bench) -> None:
    table, known, computed = bench.run(sweep(), sweep("nouns", "embed", [2.0]))
    assert (known, computed) == (0, 12 * 3 * 10 + 12 * 3)
    assert set(SCHEMA.names) <= {*table, *WHOLE_SCORES}
    assert not table.isna().any(axis=None)
    for _, of_sweep in table.groupby("memories"):
        assert of_sweep.index.equals(of_sweep.sort_values(["prompt_id", "layer", "magnitude"]).index)
    again, known, computed = bench.run(sweep(), sweep("nouns", "embed", [2.0]))
    assert (known, computed) == (12 * 3 * 11, 0)
    assert_same(again, table)


def test_five_more_magnitudes_compute_only_their_cells(bench: Bench) -> None:
    bench.run(sweep())
    fifteen = [float(t) for t in range(1, 16)]
    table, known, computed = bench.run(sweep(magnitudes=fifteen))
    assert (known, computed) == (10 * 3 * 12, 5 * 3 * 12)
    assert_same(table, bench.run(sweep(magnitudes=fifteen), store="scratch")[0])


def test_another_memory_kind_another_layer_and_more_prompts_compute_only_their_cells(bench: Bench) -> None:
    few = Sweep("curated", "unembed", [0, 2], MAGNITUDES)
    bench.run(few)
    assert bench.run(few, sweep("nouns"))[1:] == (2 * 10 * 12, 3 * 10 * 12)
    assert bench.run(sweep(), sweep("nouns"))[1:] == (5 * 10 * 12, 10 * 12)
    bench.write_pairs(read_own_pairs(15))
    table, known, computed = bench.run(sweep(), sweep("nouns"))
    assert (known, computed) == (6 * 10 * 12, 6 * 10 * 3)
    assert_same(table, bench.run(sweep(), sweep("nouns"), store="scratch")[0])


@pytest.mark.parametrize("column", ["obscure_prompt", "answer", "memory"])
def test_an_edited_prompt_recomputes_that_prompt_alone(bench: Bench, column: str) -> None:
    bench.run(sweep())
    pairs = read_own_pairs(12)
    pairs.loc[5, column] = "The old city of the"
    bench.write_pairs(pairs.iloc[::-1])
    table, known, computed = bench.run(sweep())
    assert (known, computed) == (11 * 3 * 10, 3 * 10)
    assert_same(table, bench.run(sweep(), store="scratch")[0])


def test_an_edited_explicit_prompt_recomputes_nothing_but_shows(bench: Bench) -> None:
    before = bench.run(sweep())[0]
    pairs = read_own_pairs(12)
    pairs.loc[5, "explicit_prompt"] = "The old city of the"
    bench.write_pairs(pairs)
    table, _, computed = bench.run(sweep())
    assert computed == 0
    changed = table.loc[table["p_explicit"] != before["p_explicit"], "prompt_id"]
    assert set(changed) == {5}


def test_another_seed_or_context_does_not_reuse_cells(bench: Bench) -> None:
    first, _, _ = bench.run(sweep("nouns"))
    other, known, computed = bench.run(sweep("nouns"), seed=1)
    same_word = (first["memory"] == other["memory"]).sum()
    assert (known, computed) == (same_word, len(first) - same_word)
    assert bench.run(sweep("nouns"), about={"precision": "tf32"})[1] == 0


def test_the_context_names_everything_that_all_cells_depend_on(bench: Bench) -> None:
    model = replace(bench.model, manifest={"files": {"model.safetensors": "1"}})
    base = describe_context(model, "code 1")
    assert describe_context(replace(model, precision="bfloat16"), "code 1") != base
    assert describe_context(model, "code 2") != base
    assert describe_context(replace(model, manifest={"files": {"model.safetensors": "2"}}), "code 1") != base
    assert base["device"] == "cpu"
    assert {"torch", "transformers", "transformer_lens"} <= set(base["libraries"])
