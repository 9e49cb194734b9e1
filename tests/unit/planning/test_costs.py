"""Estimated costs of jobs, compared with the engine's arithmetic and the memory of a model's tensors."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import PAIRS, ROOT, tiny_study
from memory_injections.activations.recording import record_activations
from memory_injections.config.study import parse_study
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.injection.cell_computer import CellComputer, Prompt
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.loading import describe_model, load_bridge, load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.planning.costs import CONTROL_SITES, plan_study
from memory_injections.planning.machines import find_machine, read_known
from memory_injections.planning.sizes import DataSize
from memory_injections.sweeps.cell_plan import plan_cells
from memory_injections.sweeps.grid import Sweep
from memory_injections.terms import CURATED, AnswerPositions
from tiny_models import CONFIGS
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

COUNTED = ["gpt2", "gpt-neo", "llama"]
CPU = torch.device("cpu")


def load_eager(folder: Path) -> SkippingEngine:
    """The engine with eager attention, because PyTorch does not count the CPU's fused attention."""
    return SkippingEngine(AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval())


def measure(folder: Path) -> ModelSize:
    return describe_model(AutoConfig.from_pretrained(folder))[0]


@pytest.mark.parametrize("name", COUNTED)
def test_arithmetic_is_what_the_engine_does(name: str, tiny_models: dict[str, Path]) -> None:
    engine, size, n_rows, positions = load_eager(tiny_models[name]), measure(tiny_models[name]), 32, 12
    tokens = torch.randint(400, (n_rows, positions))
    with FlopCounterMode(display=False) as counter:
        clean = engine.clean(tokens, torch.full((n_rows,), positions))
    assert counter.get_total_flops() == pytest.approx(n_rows * size.clean_pass(positions), rel=0.01)
    for layer in range(engine.n_layers):
        with FlopCounterMode(display=False) as counter:
            engine.injected(clean, [layer] * n_rows, torch.arange(n_rows), torch.randn(n_rows, 32))
        assert counter.get_total_flops() == pytest.approx(n_rows * size.cell(layer, positions), rel=0.01)


@pytest.mark.parametrize("score", ["first_token", "whole"])
@pytest.mark.parametrize("name", COUNTED)
def test_arithmetic_of_a_whole_sweep(name: str, score: str, tiny_models: dict[str, Path]) -> None:
    folder = tiny_models[name]
    engine, size, tokenizer = load_eager(folder), measure(folder), load_tokenizer(folder)
    pairs = normalise_pairs(read_csv(PAIRS), "own", 22)
    layers, magnitudes = list(range(engine.n_layers)), [float(t) for t in range(1, 16)]
    cells = plan_cells(pairs, [Sweep(CURATED, "unembed", layers, magnitudes)], {}, 0)
    prompts = {key: Prompt([7] * (11 + row % 2), 5, [6, 8]) for row, key in enumerate(cells["prompt"].unique())}
    processed = ProcessedWeights.of(load_bridge(folder, [CPU]))
    with FlopCounterMode(display=False) as counter:
        whole: AnswerPositions | None = "prompt" if score == "whole" else None
        computer = CellComputer(engine, MemoryEncoder(engine, tokenizer, processed), whole=whole)
        for _ in computer.compute(cells, prompts):
            pass
    study = parse_study(tiny_study(folder, injection={"score": score}))
    data = {"pairs": DataSize(len(prompts), {"explicit": 1, "obscure": 11.5, "memory": 1}, answer_tokens=3)}
    planned = plan_study(study, {"tiny": size}, data, find_machine("cpu"))["cells tiny/pairs"]
    assert planned.cells == len(cells)
    assert planned.flop == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_of_both_forms_of_the_weights(name: str, tiny_models: dict[str, Path]) -> None:
    size = measure(tiny_models[name])
    processed = ProcessedWeights.of(load_bridge(tiny_models[name], [CPU]))
    assert size.processed_bytes == sum(tensor.nbytes for tensor in vars(processed).values() if tensor is not None)
    for precision in ("float32", "bfloat16"):
        weights = load_causal_lm(tiny_models[name], [CPU], precision).parameters()
        assert size.weight_bytes(precision) == sum(weight.nbytes for weight in weights)


@pytest.mark.parametrize("name", COUNTED)
def test_activations_take_as_much_of_the_disk_as_their_file(name: str, tiny_models: dict[str, Path]) -> None:
    folder, pairs = tiny_models[name], normalise_pairs(read_csv(PAIRS), "own", 4)
    tensors = record_activations(load_bridge(folder, [CPU]), load_tokenizer(folder), pairs, bos=True)
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    assert measure(folder).activation_bytes == n_bytes / len(pairs)
    study = parse_study(tiny_study(folder, injection={"layers": [1]}))
    data = {"pairs": DataSize(len(pairs), {"explicit": 9, "obscure": 9, "memory": 3})}
    jobs = plan_study(study, {"tiny": measure(folder)}, data, find_machine("cpu"))
    assert {job: jobs[job].disk_bytes for job in jobs if jobs[job].disk_bytes} == {"activations tiny/pairs": n_bytes}


def test_a_model_too_large_for_a_gpu_is_spread() -> None:
    study = parse_study(yaml.safe_load((ROOT / "config" / "followup.yaml").read_text(encoding="utf-8")))
    size = describe_model(AutoConfig.for_model(**read_known()["models"]["EleutherAI/gpt-neox-20b"]))[0]
    data = {"hand": DataSize(106, {"explicit": 11, "obscure": 14, "memory": 4})}
    jobs = plan_study(study, {"neox": size}, data, find_machine("a100-80"))
    assert jobs["cells neox/hand"].gpus == 2
    assert jobs["cells neox/hand"].cells == 106 * 44 * 15 * 3
    assert jobs["processed_weights neox"].gpus == 0


def test_shards_share_out_the_cells(tiny_models: dict[str, Path]) -> None:
    size = measure(tiny_models["llama"])
    data = {"pairs": DataSize(4, {"explicit": 9, "obscure": 15, "memory": 4})}
    whole, shared = (
        plan_study(parse_study(tiny_study(tiny_models["llama"], shards=shards)), {"tiny": size}, data, machine)
        for shards, machine in [(1, find_machine("h100")), (3, find_machine("h100"))]
    )
    parts = [shared[f"cells tiny/pairs, {shard} of 3"] for shard in (1, 2, 3)]
    assert sum(part.cells for part in parts) == whole["cells tiny/pairs"].cells
    assert parts[0].flop > parts[1].flop > parts[2].flop  # an injection at an early layer runs more blocks


def test_controls_are_counted_where_the_study_asks_for_them(tiny_models: dict[str, Path]) -> None:
    size, data = measure(tiny_models["llama"]), {"pairs": DataSize(4, {"explicit": 9, "obscure": 15, "memory": 4})}

    def count(controls: Any) -> int:
        study = parse_study(tiny_study(tiny_models["llama"], controls=controls))
        job = plan_study(study, {"tiny": size}, data, find_machine("cpu")).get("controls tiny/pairs")
        return 0 if job is None else job.cells

    # At each site the memory's own cell, and those of the controls; curated and shuffled at another position and dose.
    few = {"kinds": ["shuffled", "opposite", "in_context"], "draws": 3, "positions": ["last"], "doses": [0.1]}
    assert count(few) == 4 * (CONTROL_SITES * (1 + 3 + 1) + (1 + 1) * 2)
    assert count({**few, "sites": [{"layer": 1, "magnitude": 3}]}) == count(few) + 4 * (1 + 3 + 1)
    assert count(False) == count({"kinds": []}) == 0


def test_only_the_encodings_that_are_asked_for_are_looked_at(tiny_models: dict[str, Path]) -> None:
    size, data = measure(tiny_models["llama"]), {"pairs": DataSize(4, {"explicit": 9, "obscure": 15, "memory": 4})}

    def count(part: str, **settings: Any) -> float:
        grid = {"encodings": ["unembed", "layer"], "magnitudes": [1]}
        study = parse_study(tiny_study(tiny_models["llama"], injection=grid, **{"controls": False, part: settings}))
        return plan_study(study, {"tiny": size}, data, find_machine("cpu"))[f"{part} tiny/pairs"].cells

    for part in ("controls", "mechanisms"):
        assert count(part) == 2 * count(part, encodings=["layer"])


def test_a_precision_without_a_rate(tiny_models: dict[str, Path]) -> None:
    study = parse_study(tiny_study(tiny_models["llama"], precision="bfloat16"))
    data = {"pairs": DataSize(4, {"explicit": 9, "obscure": 15, "memory": 4})}
    with pytest.raises(Exception, match="no rate of bfloat16 is known for cpu; known: float32, tf32") as error:
        plan_study(study, {"tiny": measure(tiny_models["llama"])}, data, find_machine("cpu"))
    assert error.typename == "UnknownRateError"


def test_the_workflow_reads_it_without_the_libraries_that_compute() -> None:
    code = "import sys, memory_injections.planning.requests; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    loaded = set(done.stdout.split())
    assert "memory_injections.planning.costs" in loaded
    assert not loaded & {"torch", "transformers", "transformer_lens", "pandas", "numpy", "huggingface_hub"}
