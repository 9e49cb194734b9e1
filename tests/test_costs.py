"""What a study costs, against what the engine does and against known sizes."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import CONFIGS, PAIRS, ROOT, tiny_study
from memory_injections.config.messages import parse_study
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import CellComputer, Prompt
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.models.lens import Lens
from memory_injections.models.loading import load_bridge
from memory_injections.models.sizes import ModelSize, model_bytes
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.planning.command import main
from memory_injections.planning.costs import plan
from memory_injections.planning.machines import known, machine_of
from memory_injections.planning.sizes import DataSize, data_size, model_size
from memory_injections.sweeps.cell_plan import plan as plan_cells
from memory_injections.sweeps.grid import Sweep
from memory_injections.terms import CURATED
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

COUNTED = ["gpt2", "gpt-neo", "llama"]


def eager(folder: Path) -> InjectionEngine:
    """The engine with attention as plain products: the CPU's fused attention is not counted."""
    return InjectionEngine(AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval())


def size_of(folder: Path) -> ModelSize:
    return ModelSize.of(AutoConfig.from_pretrained(folder), "")


@pytest.mark.parametrize("name", COUNTED)
def test_arithmetic_is_what_the_engine_does(name: str, tiny_models: dict[str, Path]) -> None:
    engine, size, n_rows, positions = eager(tiny_models[name]), size_of(tiny_models[name]), 16, 12
    tokens = torch.randint(400, (n_rows, positions))
    with FlopCounterMode(display=False) as counter:
        clean = engine.clean(tokens, torch.full((n_rows,), positions))
    assert counter.get_total_flops() == pytest.approx(n_rows * size.clean_pass(positions), rel=0.01)
    for layer in range(engine.n_layers):
        with FlopCounterMode(display=False) as counter:
            engine.injected(clean, [layer] * n_rows, torch.arange(n_rows), torch.randn(n_rows, 32))
        assert counter.get_total_flops() == pytest.approx(n_rows * size.cell(layer, positions), rel=0.01)


@pytest.mark.parametrize("name", COUNTED)
def test_arithmetic_of_a_whole_sweep(name: str, tiny_models: dict[str, Path]) -> None:
    folder = tiny_models[name]
    engine, size, tokenizer = eager(folder), size_of(folder), load_tokenizer(folder)
    pairs = normalise_pairs(read_csv(PAIRS), "own", 22)
    layers, magnitudes = list(range(engine.n_layers)), [float(t) for t in range(1, 16)]
    cells = plan_cells(pairs, [Sweep(CURATED, "unembed", layers, magnitudes)], {}, 0)
    prompts = {key: Prompt([7] * (11 + row % 2), 5) for row, key in enumerate(cells["prompt"].unique())}
    lens = Lens.of(load_bridge(folder, [torch.device("cpu")]))
    with FlopCounterMode(display=False) as counter:
        for _ in CellComputer(engine, MemoryEncoder(engine, tokenizer, lens)).compute(cells, prompts):
            pass
    study = parse_study(tiny_study(folder, injection={}))
    data = {"pairs": DataSize(len(prompts), {"explicit": 1, "obscure": 11.5, "memory": 1}, "")}
    planned = plan(study, {"tiny": size}, data, machine_of("cpu")).set_index("job").loc["cells tiny/pairs"]
    assert planned["cells"] == len(cells)
    assert 1e15 * planned["PFLOP"] == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_of_weights_and_lens(name: str, tiny_models: dict[str, Path]) -> None:
    size = size_of(tiny_models[name])
    lens = Lens.of(load_bridge(tiny_models[name], [torch.device("cpu")]))
    assert size.lens_bytes == sum(tensor.nbytes for tensor in vars(lens).values())
    assert [size.weight_bytes(), size.weight_bytes("bfloat16")] == [
        model_bytes(tiny_models[name]),
        model_bytes(tiny_models[name], "bfloat16"),
    ]


def test_known_models_have_their_published_number_of_parameters() -> None:
    published = {
        "openai-community/gpt2": 124.4, "openai-community/gpt2-large": 774.0, "openai-community/gpt2-xl": 1557.6,
        "EleutherAI/gpt-neo-125m": 125.2, "EleutherAI/gpt-neo-1.3B": 1315.6, "EleutherAI/gpt-neo-2.7B": 2651.3,
        "EleutherAI/gpt-j-6b": 6050.9, "EleutherAI/gpt-neox-20b": 20554.6, "meta-llama/Llama-2-7b-hf": 6738.4,
    }  # fmt: skip
    for repo, millions in published.items():
        size = ModelSize.of(AutoConfig.for_model(**known()["models"][repo]), "")
        assert size.n_parameters / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", ["config", "paper", "followup"])
def test_every_model_and_data_set_of_our_configs_is_known(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    study = parse_study(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")))
    models = {name: model_size(name, model) for name, model in study.models.items()}
    data = {name: data_size(name, dataset) for name, dataset in study.datasets.items()}
    for machine in known()["machines"]:
        jobs = plan(study, models, data, machine_of(machine))
        assert (jobs["hours"] > 0).all()
        assert (jobs["GPUs"] > 0).any() == (machine != "cpu")


def test_a_model_too_large_for_a_gpu_is_spread() -> None:
    study = parse_study(yaml.safe_load((ROOT / "config" / "followup.yaml").read_text(encoding="utf-8")))
    size = ModelSize.of(AutoConfig.for_model(**known()["models"]["EleutherAI/gpt-neox-20b"]), "")
    data = {"hand": DataSize(106, {"explicit": 11, "obscure": 14, "memory": 4}, "")}
    jobs = plan(study, {"neox": size}, data, machine_of("a100-80")).set_index("job")
    assert jobs.loc["cells neox/hand", "GPUs"] == 2
    assert jobs.loc["cells neox/hand", "cells"] == 106 * 44 * 15 * 3
    assert jobs.loc["lens neox", "GPUs"] == 0


def test_data_that_is_here_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = parse_study(
        tiny_study(tmp_path, datasets={"d": {"source": "url", "url": "https://a.org/b.csv", "sha256": 64 * "0"}})
    ).datasets["d"]
    with pytest.raises(StudyError, match="data set d is not here; fetch it with `snakemake"):
        data_size("d", url)
    assert data_size("d", url, 7).n_prompts == 7
    fetched = tmp_path / "results" / "shared" / "datasets" / "d.csv"
    fetched.parent.mkdir(parents=True)
    pd.read_csv(PAIRS).head(5).to_csv(fetched, index=False)
    size = data_size("d", url, 7)
    assert (size.n_prompts, size.source) == (5, "results/shared/datasets/d.csv")
    assert 10 < size.tokens["obscure"] < 20


def test_command(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(tiny_study(tiny_models["llama"], attribution={"bos": False})), encoding="utf-8")
    command = [sys.executable, "-m", "memory_injections.costs", "--config", str(config), "--gpu", "h100"]
    done = subprocess.run(command, text=True, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^(?:lens|activations|attribution|cells) tiny.*", done.stdout, re.MULTILINE)
    assert len(jobs) == 5
    assert f" {4 * 3 * 2 * 2} " in jobs[-1]
    assert str(tiny_models["llama"]) in done.stdout
    assert "float32 at 44.4 TFLOP/s on h100" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpu", "h1000"], "no GPU 'h1000' is known; known: h100, a100-40"),
        (["--config", "missing.yaml"], "config missing.yaml cannot be read"),
        (["--config", str(PAIRS)], "cannot be read|is no mapping of keys"),
        (["--config", "config/README.md"], "cannot be read|is no mapping of keys"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["costs", *arguments])
    with pytest.raises(SystemExit, match=sentence) as stopped:
        main()
    assert isinstance(stopped.value.code, str)  # printed to standard error; exit status 1
    assert "\n" not in stopped.value.code


def test_a_precision_without_a_rate() -> None:
    with pytest.raises(StudyError, match="no rate of bfloat16 is known for cpu; known: float32, tf32"):
        machine_of("cpu").rate("bfloat16")
