"""Resource requests of jobs: the plan with a margin, whatever the precision, and no GPU where there is none."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import ROOT, tiny_study
from memory_injections.config.study import Study, parse_study
from memory_injections.models.sizes import ModelSize
from memory_injections.planning.costs import plan_study
from memory_injections.planning.machines import find_machine
from memory_injections.planning.requests import MARGIN_MINUTES, Request, Requests
from memory_injections.planning.sizes import DataSize, find_data_size, find_model_size
from yaml import safe_load

GPT2 = ModelSize(
    n_layers=12, n_heads=12, d_model=768, d_vocab=50257, n_parameters=124_439_808, reading=1_769_472, writing=589_824,
    mlp=4_718_592,
)  # fmt: skip
TEXTS = DataSize(1000, {"explicit": 12, "obscure": 16, "memory": 6})


def read_study(**changes: Any) -> Study:
    return parse_study(tiny_study(ROOT, **changes))


def request_all(study: Study, gpu_mb: float) -> list[Request]:
    requests = Requests(study, gpu_mb)
    return [
        requests.for_processed_weights(GPT2),
        requests.for_activations(GPT2, TEXTS),
        requests.for_attribution(GPT2, TEXTS),
        requests.for_cells(GPT2, TEXTS, 1, 1),
    ]


@pytest.mark.parametrize("name", ["gpt-neo-125m", "gpt-j-6b", "gpt-neox-20b"])
def test_a_job_gets_what_its_plan_says(name: str) -> None:
    config = safe_load((ROOT / "config" / "followup.yaml").read_text(encoding="utf-8"))
    study = parse_study({**config, "shards": 1})
    size, _ = find_model_size(name, study.models[name])
    texts, _ = find_data_size("2wmh", study.datasets["2wmh"])
    jobs = plan_study(study, {name: size}, {"2wmh": texts}, find_machine("a100-40"))
    requests = Requests(study, 40_000)
    asked = {
        f"processed_weights {name}": requests.for_processed_weights(size),
        f"activations {name}/2wmh": requests.for_activations(size, texts),
        f"attribution {name}/2wmh": requests.for_attribution(size, texts),
        f"cells {name}/2wmh": requests.for_cells(size, texts, 1, 1),
        f"controls {name}/2wmh": requests.for_controls(size, texts),
    }
    for job, request in asked.items():
        planned = jobs[job]
        assert planned.host_bytes <= 1e6 * request.mem_mb <= 3 * planned.host_bytes
        assert planned.seconds <= 60 * request.runtime <= 60 * 20 + 5 * planned.seconds
        assert request.gpu in (planned.gpus, planned.gpus + bool(planned.gpus))


def test_without_gpus_none_is_asked_for() -> None:
    on_cpu, on_gpu = request_all(read_study(), 0), request_all(read_study(), 40_000)
    assert [request.gpu for request in on_cpu] == [0, 0, 0, 0]
    assert [request.gpu for request in on_gpu] == [0, 1, 1, 1]
    assert on_cpu[-1].runtime > on_gpu[-1].runtime


def test_a_model_that_is_too_large_for_a_gpu_asks_for_several() -> None:
    weights_mb = GPT2.weight_bytes() / 1e6
    assert Requests(read_study(), weights_mb).for_cells(GPT2, TEXTS, 1, 1).gpu == 2
    assert Requests(read_study(), 1.3 * weights_mb).for_cells(GPT2, TEXTS, 1, 1).gpu == 1


@pytest.mark.parametrize("gpu_mb", [0, 40_000])
def test_a_faster_precision_asks_for_no_less_time(gpu_mb: float) -> None:
    """The job may run on hardware without a faster bfloat16; for a CPU, the rate is not even known."""
    exact, rounded = (Requests(read_study(precision=name), gpu_mb) for name in ("float32", "bfloat16"))
    minutes = [requests.for_cells(GPT2, TEXTS, 1, 1).runtime for requests in (exact, rounded)]
    assert minutes[1] == pytest.approx(minutes[0], abs=1)


def test_a_job_asks_for_more_with_more_to_do() -> None:
    requests, long = Requests(read_study(), 0), DataSize(1000, {kind: 60 for kind in TEXTS.tokens})
    assert requests.for_activations(GPT2, long).runtime > requests.for_activations(GPT2, TEXTS).runtime
    assert requests.for_cells(GPT2, long, 1, 1).runtime > requests.for_cells(GPT2, TEXTS, 1, 1).runtime


def test_shards_share_out_time() -> None:
    requests, many = Requests(read_study(), 0), replace(TEXTS, n_prompts=100_000)
    whole, part = (requests.for_cells(GPT2, many, 1, shards).runtime - MARGIN_MINUTES for shards in (1, 4))
    assert whole / 4 < part < whole / 2  # every shard runs the clean passes of all prompts


@pytest.mark.parametrize("changes", [{"injection": {"layers": [12]}}, {"shards": 13}])
def test_a_job_that_cannot_be_is_left_to_say_so_itself(changes: dict[str, Any]) -> None:
    study = read_study(**changes)
    request = Requests(study, 40_000).for_cells(GPT2, TEXTS, 1, study.count_shards("tiny"))
    assert request.gpu == 0
    assert request.mem_mb > 2000
    assert request.runtime >= MARGIN_MINUTES
