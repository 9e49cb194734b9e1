"""Resource requests of the workflow's jobs: known once the model is there, and larger for a retry."""

import json
import re
from pathlib import Path

from conftest import Run, tiny_study
from memory_injections.config.study import parse_study
from memory_injections.models.sizes import ModelSize
from memory_injections.planning.requests import Requests
from memory_injections.planning.sizes import measure_pairs

SHARED = Path("results/shared")


def test_requests_are_known_once_the_model_is_there_and_further_attempts_ask_for_more(
    tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run
) -> None:
    # An injection that overflows, so that the job fails and is retried once.
    study = tiny_study(tiny_models["llama"], shards=2, injection={"magnitudes": [1e39]})
    target = "results/tiny/cells/tiny/pairs/2-of-2.parquet"
    before = snakemake(tmp_path, study, target, "--dry-run")
    assert "runtime=<TBD>" in before.stdout + before.stderr
    done = snakemake(tmp_path, study, target, "--retries", "1", "--default-resources", "gpu_mb=1")
    said = done.stdout + done.stderr
    assert "magnitude 1e+39" in said
    model = ModelSize.from_manifest(json.loads((tmp_path / SHARED / "models/tiny/manifest.json").read_text()))
    texts = measure_pairs(tmp_path / SHARED / "datasets/pairs.csv")
    # 0.1 MB of weights on GPUs with 1 MB, of which weights may take 0.8.
    request = Requests(parse_study(study), 1).for_cells(model, texts, 2, 2)
    assert request.gpu == 1
    attempts = re.findall(r"rule inject:.*?^    resources: (.*?)$", said, re.DOTALL | re.MULTILINE)
    asked = [dict(re.findall(r"\b(gpu|mem_mb|runtime)=(\d+)", attempt)) for attempt in attempts]
    assert asked == [
        {"gpu": "1", "mem_mb": str(times * request.mem_mb), "runtime": str(times * request.runtime)} for times in (1, 2)
    ]


def test_an_earlier_versions_manifest_is_as_good_as_none(
    tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run
) -> None:
    model = tmp_path / SHARED / "models" / "tiny"
    (model / "checkpoint").mkdir(parents=True)
    (model / "manifest.json").write_text('{"n_layers": 3}', encoding="utf-8")
    target = "results/shared/models/tiny/processed_weights.safetensors"
    planned = snakemake(tmp_path, tiny_study(tiny_models["llama"]), target, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "runtime=<TBD>" in planned.stdout + planned.stderr
