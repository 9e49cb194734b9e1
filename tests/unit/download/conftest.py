"""Downloads are tested without waiting between retries, against a hub on loopback with empty caches."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub import Hub, make_repos, serve
from huggingface_hub import constants
from memory_injections.models.sources import HuggingFaceModel


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waiting times that clients asked for; no test really waits."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def repos(tmp_path: Path, tiny_models: dict[str, Path]) -> dict[str, Path]:
    """The folders of a model and a data set that the hub serves."""
    return make_repos(tmp_path / "hub", tiny_models["gpt2"])


@pytest.fixture
def hub(repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Iterator[Hub]:
    """A hub for the clients of this process, with empty caches and no token."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve(repos) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        yield hub


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str], Path]:
    """A function that downloads the model at a revision into a new folder, whose name becomes the commit."""

    def fetch(revision: str) -> Path:
        (tmp_path / "fetched").mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=tmp_path / "fetched")) / "model"
        folder.mkdir()
        source = HuggingFaceModel(source="huggingface", repo="someone/tiny", revision=revision)
        return folder.rename(folder.parent / source.fill(folder))

    return fetch
