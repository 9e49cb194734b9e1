"""What jobs ask a scheduler for: no less than their plan, more for a further attempt, known once the model is there."""

from pathlib import Path

import pytest
from conftest import ROOT, Run, tiny_study
from memory_injections.config.messages import parse_study
from memory_injections.planning import requests as demands
from memory_injections.planning.costs import plan
from memory_injections.planning.machines import machine_of
from memory_injections.planning.sizes import data_size, model_size
from yaml import safe_load


@pytest.fixture(scope="module")
def followup() -> dict[str, object]:
    return safe_load((ROOT / "config" / "followup.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["gpt-neo-125m", "gpt-j-6b", "gpt-neox-20b"])
def test_a_job_gets_what_its_plan_says(name: str, followup: dict[str, object]) -> None:
    study = parse_study({**followup, "shards": 1})
    size = model_size(name, study.models[name])
    texts = data_size("2wmh", study.datasets["2wmh"])
    jobs = plan(study, {name: size}, {"2wmh": texts}, machine_of("a100-40")).set_index("job")
    manifest = {key: getattr(size, key) for key in ("n_layers", "n_heads", "d_model", "d_vocab", "n_parameters")}
    cells = jobs.loc[f"cells {name}/2wmh"]
    asked = {
        f"lens {name}": demands.of_lens(manifest),
        f"activations {name}/2wmh": demands.of_activations(manifest, texts.n_prompts, 40_000),
        f"attribution {name}/2wmh": demands.of_attribution(manifest, texts.n_prompts, 40_000),
        f"cells {name}/2wmh": demands.of_cells(manifest, int(cells["cells"]), "float32", 40_000),
    }
    for job, demand in asked.items():
        planned = jobs.loc[job]
        assert planned["host GiB"] * 1074 <= demand.mem_mb <= 3 * planned["host GiB"] * 1074
        assert planned["hours"] * 60 <= demand.runtime <= 20 + 5 * planned["hours"] * 60
        if not job.startswith("lens"):
            assert demand.gpu in (planned["GPUs"], planned["GPUs"] + 1)


def test_without_gpus_none_is_asked_for() -> None:
    manifest = {"n_layers": 12, "n_heads": 12, "d_model": 768, "d_vocab": 50257, "n_parameters": 124_000_000}
    on_cpu, on_gpu = (demands.of_cells(manifest, 100_000, "float32", gpu_mb) for gpu_mb in (0, 40_000))
    assert (on_cpu.gpu, on_gpu.gpu) == (0, 1)
    assert on_cpu.runtime > on_gpu.runtime


def test_shards_share_out_time_and_further_attempts_get_more(
    tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run
) -> None:
    study = tiny_study(tiny_models["llama"], shards=2)
    target = "results/tiny/cells/tiny/pairs/2-of-2.parquet"
    before = snakemake(tmp_path, study, target, "--dry-run")
    assert "runtime=<TBD>" in before.stdout + before.stderr
    done = snakemake(tmp_path, study, target, "--default-resources", "gpu_mb=1")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    cells = said[said.index("rule cells:") :].split("\n\n")[0]
    # Weights of 0.1 MB on GPUs of 1 MB, of which 0.8 may be weights.
    assert "gpu=1" in cells
    assert f"mem_mb={demands.START_MB + 1}" in cells
