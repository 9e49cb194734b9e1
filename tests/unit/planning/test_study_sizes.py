"""Sizes of models and data sets are found before anything is fetched, and only where they are certain."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import PAIRS, ROOT, tiny_study
from memory_injections.config.study import parse_study
from memory_injections.data.sources import DataSource
from memory_injections.errors import StudyError
from memory_injections.models.loading import describe_model
from memory_injections.models.sources import PypiModel
from memory_injections.planning.costs import plan_study
from memory_injections.planning.machines import find_machine, locate_known, read_known
from memory_injections.planning.sizes import (
    TYPICAL_TOKENS,
    UnknownDataSizeError,
    UnknownModelSizeError,
    find_data_size,
    find_model_size,
    measure_pairs,
)
from transformers import AutoConfig

URL = {"source": "url", "url": "https://a.org/b.csv", "sha256": 64 * "0"}


def read_dataset(**source: Any) -> DataSource:
    return parse_study(tiny_study(ROOT, datasets={"d": source})).datasets["d"]


def test_known_models_have_their_published_number_of_parameters() -> None:
    published = {
        "openai-community/gpt2": 124.4, "openai-community/gpt2-large": 774.0, "openai-community/gpt2-xl": 1557.6,
        "EleutherAI/gpt-neo-125m": 125.2, "EleutherAI/gpt-neo-1.3B": 1315.6, "EleutherAI/gpt-neo-2.7B": 2651.3,
        "EleutherAI/gpt-j-6b": 6050.9, "EleutherAI/gpt-neox-20b": 20554.6, "meta-llama/Llama-2-7b-hf": 6738.4,
        "EleutherAI/pythia-70m": 70.4, "EleutherAI/pythia-12b": 11846.1, "Qwen/Qwen2.5-0.5B": 494.0,
        "meta-llama/Llama-3.2-1B": 1235.8, "google/gemma-2-2b": 2614.3, "google/gemma-3-1b-pt": 999.9,
        "allenai/OLMo-2-0425-1B": 1484.9,
    }  # fmt: skip
    for repo, millions in published.items():
        size = describe_model(AutoConfig.for_model(**read_known()["models"][repo]))[0]
        assert size.n_parameters / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", ["config", "paper", "followup", "scaling", "modern", "twohopfact", "socrates"])
def test_every_model_and_data_set_of_our_configs_is_known(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    study = parse_study(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")))
    models = {name: find_model_size(name, model)[0] for name, model in study.models.items()}
    data = {name: find_data_size(name, dataset)[0] for name, dataset in study.datasets.items()}
    for machine in read_known()["machines"]:
        jobs = plan_study(study, models, data, find_machine(machine)).values()
        assert all(job.seconds > 0 for job in jobs)
        assert any(job.gpus for job in jobs) == (machine != "cpu")


def test_the_papers_study_says_what_its_grid_of_doses_costs(tmp_path: Path) -> None:
    text = (ROOT / "config" / "paper.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    whole, without = (
        parse_study(config | {"injection": config["injection"][:n_grids]}, root=ROOT) for n_grids in (2, 1)
    )
    models = {name: find_model_size(name, model)[0] for name, model in whole.models.items()}
    data = {name: find_data_size(name, dataset)[0] for name, dataset in whole.datasets.items()}
    flop = [
        sum(job.flop for job in plan_study(study, models, data, find_machine("h100")).values())
        for study in (whole, without)
    ]
    assert f"{100 * (flop[0] / flop[1] - 1):.0f} % more arithmetic" in text


def test_known_sizes_are_said_to_be_from_a_file_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (ROOT, ROOT / "tests"):
        monkeypatch.chdir(folder)
        assert yaml.safe_load(Path(locate_known()).read_text(encoding="utf-8")) == read_known()


def test_a_fetched_model_is_measured_if_it_is_of_the_same_source(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    source = PypiModel(source="pypi", package="some-model==1.0", file="m.gguf", sha256=64 * "0")
    with pytest.raises(UnknownModelSizeError, match=r"the size of model m .some-model==1.0. is not known"):
        find_model_size("m", source, tmp_path)
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "checkpoint").symlink_to(tiny_models["llama"])
    (folder / "manifest.json").write_text(json.dumps({"source": source.model_dump()}), encoding="utf-8")
    size, origin = find_model_size("m", source, tmp_path)
    assert (size.n_layers, size.d_model, origin) == (3, 32, str(folder / "checkpoint"))
    with pytest.raises(UnknownModelSizeError):
        find_model_size("m", source.model_copy(update={"sha256": 64 * "1"}), tmp_path)


def test_a_model_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    study = parse_study(tiny_study(tmp_path))
    with pytest.raises(StudyError, match=r"has no config.json; save the model there"):
        find_model_size("tiny", study.models["tiny"])


def test_data_of_this_machine_are_measured_in_their_own_file(tmp_path: Path) -> None:
    file = tmp_path / "multi_hop_1000.csv"  # the name of another data set, whose size is known
    pd.read_csv(PAIRS).head(5).to_csv(file, index=False)
    size, origin = find_data_size("d", read_dataset(source="file", path=str(file)))
    assert (size.n_prompts, origin) == (5, str(file))
    assert 10 < size.tokens["obscure"] < 20
    assert find_data_size("d", read_dataset(source="file", path=str(file), rows=3))[0].n_prompts == 3
    with pytest.raises(StudyError, match=r"nowhere.csv does not exist"):
        find_data_size("d", read_dataset(source="file", path=str(tmp_path / "nowhere.csv")))


def test_a_file_that_another_study_fetched_is_not_taken_for_this_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fetched = tmp_path / "results" / "shared" / "datasets" / "d.csv"
    fetched.parent.mkdir(parents=True)
    pd.read_csv(PAIRS).head(5).to_csv(fetched, index=False)
    with pytest.raises(UnknownDataSizeError, match="how many prompt pairs data set d has is not known"):
        find_data_size("d", read_dataset(**URL))
    assert find_data_size("d", read_dataset(**URL), 7)[0].n_prompts == 7
    assert find_data_size("d", read_dataset(**URL), 7)[1] == "the command line"


def test_the_config_may_state_how_many_prompt_pairs_there_are(tmp_path: Path) -> None:
    known = {"source": "huggingface", "repo": "a/b", "file": "data/multi_hop_1000.csv"}
    assert find_data_size("d", read_dataset(**known))[0].n_prompts == 1000
    assert find_data_size("d", read_dataset(**known, rows=20))[0].n_prompts == 20
    assert find_data_size("d", read_dataset(**known, rows=2000))[0].n_prompts == 1000
    assert find_data_size("d", read_dataset(**URL, rows=20))[0].n_prompts == 20
    (tmp_path / "wiki.json").write_text("[]", encoding="utf-8")
    drawn = read_dataset(source="2wikimultihop", path=str(tmp_path / "wiki.json"), size=30)
    size, origin = find_data_size("d", drawn, 7)
    assert (size.n_prompts, size.tokens, origin) == (30, TYPICAL_TOKENS, "the config")


def test_the_workflows_table_has_the_size_of_its_source(tmp_path: Path) -> None:
    source = read_dataset(source="file", path=str(PAIRS), rows=9)
    source.read_pairs().to_csv(tmp_path / "pairs.csv", index=False)
    assert measure_pairs(tmp_path / "pairs.csv") == find_data_size("d", source)[0]
