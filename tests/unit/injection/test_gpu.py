"""Tests that need a GPU; skipped where there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from architectures import OTHERS, QUICK, Family
from memory_injections import Injector
from memory_injections.controls.texts import score_prompts
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.injection.generation import write_answers
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.jobs.gpus import SHARES, count_shares, reserve_devices
from memory_injections.models.loading import load_causal_lm
from memory_injections.models.tokenisation import pad
from memory_injections.terms import AnswerPositions
from slow_path import Model, list_cells, tokenise_pairs
from tiny_models import CONFIGS
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
several_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
EXACT = {**QUICK, **OTHERS}
GPU = [torch.device("cuda", 0)]

HOLD = """
import torch
from memory_injections.jobs.gpus import reserve_devices
with reserve_devices(1) as held:
    print(held[0].index, torch.ones(1, device="cuda").device.index, flush=True)
    input()
"""


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Model:
    return Model(tiny_models[request.param])


def cells_of(model: Model, pairs: pd.DataFrame) -> pd.DataFrame:
    scale = 2 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    layers = list(range(model.engine.n_layers))
    return list_cells(pairs, layers, [scale, 2 * scale, 3 * scale], list(ENCODINGS))


def computed(model: Model, engine: SkippingEngine, cells: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    prompts = tokenise_pairs(pairs, model.tokenizer)
    return pd.concat(model.build_computer(engine).compute(cells, prompts)).sort_index()


def test_a_gpu_computes_what_the_cpu_computes(model: Model, pairs: pd.DataFrame) -> None:
    cells = cells_of(model, pairs)
    on_gpu = SkippingEngine(load_causal_lm(model.folder, GPU))
    found, expected = computed(model, on_gpu, cells, pairs), computed(model, model.engine, cells, pairs)
    for column in ("logp_obscure", "logp_injected"):
        np.testing.assert_allclose(found[column], expected[column], atol=2e-4)
    np.testing.assert_allclose(found["kl"], expected["kl"], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("positions", ["prompt", "all"])
def test_whole_and_written_answers_on_a_gpu(model: Model, pairs: pd.DataFrame, positions: AnswerPositions) -> None:
    cells, prompts = cells_of(model, pairs), tokenise_pairs(pairs, model.tokenizer)
    engines = [SkippingEngine(load_causal_lm(model.folder, GPU)), model.engine]
    encoders = [MemoryEncoder(engine, model.tokenizer, model.processed) for engine in engines]
    both = zip(engines, encoders, strict=True)
    computers = [CellComputer(engine, encoder, whole=positions) for engine, encoder in both]
    found, expected = (pd.concat(computer.compute(cells, prompts)).sort_index() for computer in computers)
    for column in ("logp_injected", "logp_whole_obscure", "logp_whole_injected"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5, atol=5e-4)
    rows = [list(prompt.tokens) for prompt in prompts.values()]
    vectors = torch.randn(len(rows), model.processed.W_U.shape[0], generator=torch.Generator().manual_seed(0))
    written = [
        write_answers(engine, rows, [6] * len(rows), [1] * len(rows), vectors.to(engine.device), positions)
        for engine in engines
    ]
    assert written[0] == written[1]
    texts = [
        {name: values.numpy() for name, values in score_prompts(list(prompts.values()), engine).items()}
        for engine in engines
    ]
    np.testing.assert_allclose(texts[0]["logp_whole"], texts[1]["logp_whole"], rtol=1e-5, atol=5e-4)


@pytest.mark.parametrize("family", EXACT.values(), ids=EXACT)
def test_a_gpu_computes_what_the_cpu_computes_for_every_family(family: Family) -> None:
    engine = SkippingEngine(family.build())
    rows = [[5, 7], [9, 4, 3, 2, 8], [6, 5, 4, 3, 2, 1]]
    layers = [layer for layer in range(engine.n_layers) for _ in rows]
    prompts = torch.arange(len(layers)) % len(rows)
    vectors = torch.randn(len(layers), 32, generator=torch.Generator().manual_seed(1))
    where = torch.arange(6) % 2 == torch.arange(len(layers))[:, None] % 2
    same_length = torch.tensor([rows[1], rows[2][:5], rows[1][::-1]])
    found: list[list[torch.Tensor]] = []
    for device in (torch.device("cpu"), GPU[0]):
        engine = SkippingEngine(engine.model.to(device))  # type: ignore[arg-type]
        clean, last = engine.clean(*pad(rows, device)), engine.clean_last(same_length.to(device))
        cells = layers, prompts.to(device), vectors.to(device)
        everywhere, somewhere = engine.injected(clean, *cells), engine.injected(clean, *cells, where.to(device))
        found.append(
            [values.log_softmax(dim=1).cpu() for values in (everywhere, somewhere, engine.injected(last, *cells))]
        )
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=2e-4)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precisions_are_near_float32_and_not_equal(model: Model, pairs: pd.DataFrame, precision: str) -> None:
    cells = cells_of(model, pairs)
    folder = model.folder
    try:
        rough = computed(model, SkippingEngine(load_causal_lm(folder, GPU, precision)), cells, pairs)  # type: ignore[arg-type]
    finally:
        exact = computed(model, SkippingEngine(load_causal_lm(folder, GPU)), cells, pairs)
    difference = (exact["logp_injected"] - rough["logp_injected"]).abs()
    assert 1e-6 < difference.max() < (0.05 if precision == "tf32" else 0.5)


def test_logits_of_a_model_in_bfloat16_are_not_rounded(tiny_models: dict[str, Path]) -> None:
    engine = SkippingEngine(load_causal_lm(tiny_models["gpt2"], GPU, "bfloat16"))
    tokens = torch.arange(20, device=GPU[0]).reshape(4, 5)
    logits = engine.clean(tokens, torch.tensor([5, 4, 3, 2], device=GPU[0])).logits
    assert logits.dtype == torch.float32
    assert (logits != logits.bfloat16().float()).float().mean() > 0.9


def test_a_cell_does_not_depend_on_its_batch(model: Model, pairs: pd.DataFrame) -> None:
    cells = cells_of(model, pairs)
    engine = SkippingEngine(load_causal_lm(model.folder, GPU))
    few = model.build_computer(engine)
    few.batches.max_tokens = 200
    apart = pd.concat(few.compute(cells, tokenise_pairs(pairs, model.tokenizer))).sort_index()
    together = computed(model, engine, cells, pairs)
    np.testing.assert_allclose(apart["p_injected"], together["p_injected"], rtol=1e-5)


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_one_prompt_on_a_gpu(name: str, hooks: bool, tiny_models: dict[str, Path]) -> None:
    """The Python API gives the same results on the GPU as on the CPU, with the fast engine and with hooks."""
    folder = tiny_models[name]
    on_cpu = Injector.load(folder, "cpu")
    on_gpu = (
        Injector.of(TransformerBridge.boot_transformers(str(folder), device="cuda")) if hooks else Injector.load(folder)
    )
    assert on_gpu.vector("Karl Marx").device.type == "cuda"
    asked = ("The author of Das Kapital is buried in the great city of", "Karl Marx")
    for narrow in ({}, {"positions": [-1]}, {"head": 1}):
        cpu, gpu = (
            each.inject(*asked, layer=1, magnitude=0.2, answer="London", top_k=400, **narrow).table.set_index(
                "token_id"
            )
            for each in (on_cpu, on_gpu)
        )
        np.testing.assert_allclose(gpu["p_injected"].loc[cpu.index], cpu["p_injected"], atol=1e-5)
    grids = [each.sweep(*asked, magnitudes=[0.1, 0.2]).table for each in (on_cpu, on_gpu)]
    np.testing.assert_allclose(grids[1]["p_injected"], grids[0]["p_injected"], atol=1e-5)
    heads = [
        each.heads(asked[0], [0, 2], 400).set_index(["layer", "head", "token_id"])["logit"] for each in (on_cpu, on_gpu)
    ]
    np.testing.assert_allclose(heads[1].loc[heads[0].index], heads[0], rtol=1e-3, atol=1e-3)
    assert on_gpu.generate(*asked, layer=1, magnitude=0.2) == on_cpu.generate(*asked, layer=1, magnitude=0.2)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limit this process to 0.25 GiB more GPU memory, so that it really runs out."""
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 2**28
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_running_out_of_memory_halves_the_batch(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    pairs: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    torch.manual_seed(0)
    large = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50_000, bos_token_id=0, eos_token_id=0)
    AutoModelForCausalLM.from_config(large).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = Model(tmp_path)
    engine = SkippingEngine(load_causal_lm(tmp_path, GPU))
    cells = list_cells(pairs, [0, 1], [index / 100 for index in range(500)], ["unembed"])
    expected = computed(model, engine, cells, pairs)
    assert "out of memory" not in caplog.text
    request.getfixturevalue("little_memory")
    found = computed(model, engine, cells, pairs)
    assert "out of memory with" in caplog.text
    assert "going on with" in caplog.text
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


@several_gpus
def test_a_model_spread_over_gpus(model: Model, pairs: pd.DataFrame) -> None:
    devices = [torch.device("cuda", index) for index in range(2)]
    spread = load_causal_lm(model.folder, devices)
    assert {parameter.device for parameter in spread.parameters()} == set(devices)
    cells = cells_of(model, pairs)
    found = computed(model, SkippingEngine(spread), cells, pairs)
    expected = computed(model, model.engine, cells, pairs)
    np.testing.assert_allclose(found["logp_injected"], expected["logp_injected"], atol=2e-4)


def test_a_job_computes_on_the_gpu_that_it_holds() -> None:
    with reserve_devices(1) as held:
        assert held[0].type == "cuda"
        assert torch.ones(1, device="cuda").device == held[0]


@several_gpus
def test_jobs_side_by_side_hold_different_gpus() -> None:
    start = [sys.executable, "-c", HOLD]
    jobs = [subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    held = [job.stdout.readline().split() for job in jobs if job.stdout]
    for job in jobs:
        job.communicate("\n")
    assert sorted(held) == [["0", "0"], ["1", "1"]]


TAKE = """
import torch
from memory_injections.jobs.gpus import SHARES, WORKING_BYTES, count_shares, reserve_devices
with reserve_devices(1):
    total = torch.cuda.get_device_properties(0).total_memory
    half = torch.empty(WORKING_BYTES // 2, dtype=torch.uint8, device="cuda")
    print("a batch fits", flush=True)
    try:
        torch.empty(count_shares(1, total) * total // SHARES - WORKING_BYTES // 2, dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError:
        print("no more", flush=True)
    input()
"""


@pytest.mark.skipif(
    torch.cuda.is_available() and 2 * count_shares(1, torch.cuda.get_device_properties(0).total_memory) > SHARES,
    reason="needs a GPU with room for two models",
)
def test_two_jobs_on_one_gpu_take_no_more_than_their_parts() -> None:
    one_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}
    start = [sys.executable, "-c", TAKE]
    jobs = [
        subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_gpu) for _ in range(2)
    ]
    said = [[job.stdout.readline().strip() for _ in range(2)] for job in jobs if job.stdout]
    for job in jobs:
        job.communicate("\n")
    assert said == [["a batch fits", "no more"]] * 2
