"""Downloads from the Hugging Face hub, with the real client against a loopback server that can fail."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub import ALWAYS, COMMIT, DATA, LICENSED, MODEL, NEXT_COMMIT, Fault, Hub, assert_same_model
from huggingface_hub import constants
from memory_injections.data.hub_tables import read_hub_file
from memory_injections.download.hub import PAUSE, download_config
from memory_injections.errors import StudyError
from memory_injections.models.checkpoints import check_model_folder
from memory_injections.models.sources import HuggingFaceModel, UntrainedModel

Fetch = Callable[[str], Path]


def test_model_whose_weights_lie_on_another_host(
    hub: Hub, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    monkeypatch.setenv("HF_TOKEN", LICENSED)
    assert_same_model(fetch("main"), repos[MODEL])
    digest = hashlib.sha256((repos[MODEL] / "model.safetensors").read_bytes()).hexdigest()
    assert f"GET cdn/{digest}" in hub.requests
    assert not [request for request in hub.requests if "onnx" in request or "pytorch" in request]


def test_a_twin_is_drawn_without_the_weights_and_names_the_commit(
    hub: Hub, repos: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "twin"
    folder.mkdir()
    like = HuggingFaceModel(source="huggingface", repo="someone/tiny")
    manifest = UntrainedModel(source="untrained", like=like).fetch(folder)
    config = hashlib.sha256((repos[MODEL] / "config.json").read_bytes()).hexdigest()
    assert manifest["like"] == {"revision": COMMIT, "config.json": config}
    assert manifest["revision"] is None
    check_model_folder(folder)
    assert not [request for request in hub.requests if "safetensors" in request or request.startswith("GET cdn")]


def test_pickled_weights_are_not_even_downloaded(hub: Hub, repos: dict[str, Path], fetch: Fetch) -> None:
    (repos[MODEL] / "model.safetensors").unlink()
    assert not list(fetch("main").glob("*.bin"))
    assert not [request for request in hub.requests if "pytorch" in request and "GET" in request]


def test_only_what_makes_a_model_or_refuses_it_is_downloaded(hub: Hub, repos: dict[str, Path], fetch: Fetch) -> None:
    for name in ("trainer_state.json", "notes.txt", "consolidated.safetensors", "tokenizer.tiktoken", "merges.txt"):
        (repos[MODEL] / name).write_bytes(b"{}")
    before = {path.name for path in fetch("main").iterdir()}
    assert before >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer.tiktoken", "merges.txt"}
    assert not before & {"trainer_state.json", "notes.txt", "consolidated.safetensors"}
    for commit, name in (("ada" + 37 * "0", "adapter_config.json"), ("bad" + 37 * "0", "hf_quant_config.json")):
        hub.commits[MODEL][commit] = shutil.copytree(repos[MODEL], repos[MODEL].parent / commit)
        (hub.commits[MODEL][commit] / name).write_bytes(b"{}")
        with pytest.raises(StudyError, match=f"has the file {name}: "):
            check_model_folder(fetch(commit))


def test_a_model_that_does_not_fit_on_the_disk_is_not_begun(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(StudyError, match=r"someone/tiny takes 0\.\d GB, but the disk of .* has 0\.0 GB left"):
        fetch("main")
    assert not [request for request in hub.requests if request.startswith("GET cdn")]


def test_revision_that_moves(hub: Hub, repos: dict[str, Path], tmp_path: Path, fetch: Fetch) -> None:
    assert fetch("main").name == COMMIT
    newer = shutil.copytree(repos[MODEL], tmp_path / "newer")
    (newer / "config.json").write_text("{}")
    hub.commits[MODEL][NEXT_COMMIT] = newer
    del hub.requests[:]
    assert_same_model(fetch("main"), newer)
    assert not [request for request in hub.requests if "cdn" in request]  # unchanged weights are not fetched again
    assert_same_model(fetch(COMMIT), repos[MODEL])


def test_data_of_the_revision_that_is_asked_for(hub: Hub, repos: dict[str, Path], tmp_path: Path) -> None:
    older = read_hub_file("someone/pairs", "main", "pairs.csv")
    assert set(older["answer"]) == {"007"}
    newer = shutil.copytree(repos[DATA], tmp_path / "newer")
    older.assign(answer="008").to_csv(newer / "pairs.csv", index=False)
    hub.commits[DATA][NEXT_COMMIT] = newer
    assert set(read_hub_file("someone/pairs", "main", "pairs.csv")["answer"]) == {"008"}
    assert set(read_hub_file("someone/pairs", COMMIT, "pairs.csv")["answer"]) == {"007"}


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    "part",
    [
        "GET api/models/someone/tiny/revision",
        "GET api/models/someone/tiny/tree",
        f"HEAD someone/tiny/resolve/{COMMIT}/config",
        "GET cdn",
    ],
)
def test_hub_that_is_busy_for_a_while(
    hub: Hub, repos: dict[str, Path], slept: list[float], part: str, status: int, fetch: Fetch
) -> None:
    hub.faults = [Fault(part, 2, status, {"Retry-After": "7"})]
    assert_same_model(fetch("main"), repos[MODEL])
    assert hub.faults[0].times == 0
    assert slept
    assert min(slept) >= 7


def test_hub_that_counts_requests(hub: Hub, repos: dict[str, Path], slept: list[float], fetch: Fetch) -> None:
    hub.faults = [Fault("GET api/models", 1, 429, {"RateLimit": '"api";r=0;t=55'})]
    assert_same_model(fetch("main"), repos[MODEL])
    assert slept == [55]


@pytest.mark.parametrize(("retry_after", "waits"), [("7", [7, 7]), ("3600", []), ("soon", [PAUSE, PAUSE])])
def test_hub_that_stays_busy(hub: Hub, slept: list[float], retry_after: str, waits: list[float], fetch: Fetch) -> None:
    hub.faults = [Fault("GET api/models", ALWAYS, 503, {"Retry-After": retry_after})]
    with pytest.raises(
        StudyError, match=r"^Hugging Face repository someone/tiny cannot be downloaded: the hub answered .*503"
    ):
        fetch("main")
    assert slept == waits
    assert hub.requests.count("GET api/models/someone/tiny/revision/main") == len(waits) + 1


def test_file_that_is_cut_once_is_resumed(
    hub: Hub, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # partial downloads are kept in pieces of this size
    hub.faults = [Fault("GET cdn"), Fault("GET someone/tiny/resolve")]
    assert_same_model(fetch("main"), repos[MODEL])
    assert [fault.times for fault in hub.faults] == [0, 0]
    whole, rest = [request for request in hub.requests if request.startswith("GET cdn")]
    assert rest.startswith(f"{whole} bytes=")


def test_file_that_is_always_cut_leaves_nothing(
    hub: Hub, repos: dict[str, Path], slept: list[float], tmp_path: Path, fetch: Fetch
) -> None:
    hub.faults = [Fault("GET cdn", ALWAYS)]
    with pytest.raises(StudyError, match=r"^Hugging Face repository someone/tiny cannot be downloaded whole \("):
        fetch("main")
    assert slept.count(PAUSE) == 2  # in addition to the client's own pauses
    assert not list(tmp_path.rglob("*.incomplete"))
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    hub.faults = []
    assert_same_model(fetch("main"), repos[MODEL])


@pytest.mark.parametrize("token", [None, "hf_without_licence", LICENSED])
def test_gated_model(
    hub: Hub, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str | None, fetch: Fetch
) -> None:
    hub.gated = {MODEL}
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    if token == LICENSED:
        download_config("someone/tiny", "main", tmp_path)
        assert_same_model(fetch("main"), repos[MODEL])
        return
    for download in (fetch, lambda revision: download_config("someone/tiny", revision, tmp_path)):
        with pytest.raises(StudyError, match=r"^Hugging Face repository someone/tiny is gated; accept its licence "):
            download("main")
    assert not [request for request in hub.requests if "cdn" in request]


@pytest.mark.parametrize(
    ("repo", "revision", "sentence"),
    [
        ("someone/other", "main", "someone/other does not exist or is private; correct its name"),
        ("someone/tiny", "v2", "someone/tiny does not have the revision that the config asks for; correct"),
        ("some one/tiny", "main", "some one/tiny is not a valid name .*; write `owner/name`"),
        ("someone/bare", "main", "someone/bare lacks the file config.json; name a repository with a model"),
    ],
)
def test_model_that_is_not_there(hub: Hub, tmp_path: Path, repo: str, revision: str, sentence: str) -> None:
    hub.commits["models/someone/bare"] = {COMMIT: tmp_path / "bare"}
    with pytest.raises(StudyError, match=f"^Hugging Face repository {sentence}"):
        download_config(repo, revision, tmp_path)


@pytest.mark.parametrize(("status", "problem"), [(401, "401 Unauthorized"), (403, "403 Forbidden")])
def test_token_that_is_refused(hub: Hub, status: int, problem: str, tmp_path: Path) -> None:
    hub.faults = [Fault("HEAD", ALWAYS, status, {"X-Error-Message": "Invalid credentials in Authorization header"})]
    with pytest.raises(StudyError, match=f"cannot be downloaded: the hub answered .*{problem}.*; .* check HF_TOKEN"):
        download_config("someone/tiny", "main", tmp_path)


def test_data_that_is_not_there(hub: Hub) -> None:
    with pytest.raises(
        StudyError, match=r"^Hugging Face repository someone/pairs lacks the file other\.csv; correct `file`"
    ):
        read_hub_file("someone/pairs", "main", "other.csv")
    with pytest.raises(StudyError, match=r"binary\.csv of someone/pairs"):
        read_hub_file("someone/pairs", "main", "binary.csv")


def test_offline_the_cache_serves_what_it_holds(
    hub: Hub, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fetch: Fetch, tmp_path: Path
) -> None:
    fetch("main")
    read_hub_file("someone/pairs", "main", "pairs.csv")
    for name in (MODEL, DATA):
        hub.commits[name][NEXT_COMMIT] = repos[name]
    del hub.requests[:]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    download_config("someone/tiny", "main", tmp_path)
    assert_same_model(fetch("main"), repos[MODEL])
    assert len(read_hub_file("someone/pairs", COMMIT, "pairs.csv"))
    absent = "cannot be reached and is not in the local cache"
    with pytest.raises(StudyError, match=f"someone/tiny {absent}"):
        fetch(NEXT_COMMIT)
    for file, revision in (("binary.csv", "main"), ("pairs.csv", NEXT_COMMIT)):
        with pytest.raises(StudyError, match=f"someone/pairs {absent}"):
            read_hub_file("someone/pairs", revision, file)
    assert hub.requests == []


def test_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    absent = "cannot be reached and is not in the local cache; check the network"
    with pytest.raises(StudyError, match=f"^Hugging Face repository someone/tiny {absent}"):
        download_config("someone/tiny", "main", tmp_path)
    with pytest.raises(StudyError, match=f"^Hugging Face repository someone/pairs {absent}"):
        read_hub_file("someone/pairs", "main", "pairs.csv")
