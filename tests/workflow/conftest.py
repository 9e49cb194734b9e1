"""A finished study, with everything that the workflow makes, and a user of the hub."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import fork_server
import pytest
from checkout import Checkout, copy_project
from conftest import PAIRS, WORDS
from hub import HubUser, make_repos, serve
from memory_injections.atomic_files import hash_file

GRIDS = [
    {"magnitudes": [1, 4]},
    {"encodings": ["layer"], "layers": [0, 2], "magnitudes": [2]},
    {"memories": ["nouns"], "layers": {"step": 2}, "magnitudes": [4]},
    {"memories": ["Verbs"], "encodings": ["embed"], "layers": [1], "magnitudes": [1]},
]


@pytest.fixture(scope="session")
def finished(tiny_models: dict[str, Path], python: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished tiny study: one model, a data set from a URL and a local one, four kinds of injection.

    One test process runs all files that use it (`FINISHED` in tests/conftest.py), because they edit it.
    """
    folder = tmp_path_factory.mktemp("finished")
    copy_project(folder)
    for name in ("llama", "gpt2"):
        shutil.copytree(tiny_models[name], folder / name)
    shutil.copy(PAIRS, folder / "mine.csv")
    shutil.copy(WORDS, folder / "words.csv")
    with serve({}, {"web.csv": PAIRS.read_bytes()}) as hub:
        study = {
            "study": "tiny",
            "seed": 0,
            "models": {"llama": {"source": "local", "path": "llama"}},
            "datasets": {
                "web": {"source": "url", "url": f"{hub.url}/web.csv", "sha256": hash_file(PAIRS), "rows": 3},
                "mine": {"source": "file", "path": "mine.csv", "rows": 4},
            },
            "words": {"source": "file", "path": "words.csv"},
            "injection": GRIDS,
            "attribution": {"top_k": 5},
        }
        checkout = Checkout(folder, study, python)
        checkout.snakemake()
    return checkout


@pytest.fixture
def edited(finished: Checkout) -> Iterator[Checkout]:
    """The finished study; edits are undone after the test."""
    yield finished
    finished.put_back()


@pytest.fixture(scope="module")
def hub_user_of_file(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubUser]:
    """A hub and its user, for all tests of a file: to start a Python takes longer than many a test."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "server").mkdir()
    with serve(make_repos(folder, tiny_models["gpt2"])) as hub:
        environment = hub.describe_client(folder / "home")
        fork_server.start(folder / "server", environment)
        yield HubUser(hub, folder / "home", folder / "server" / "python", environment)


@pytest.fixture
def hub_user(hub_user_of_file: HubUser, monkeypatch: pytest.MonkeyPatch) -> HubUser:
    """A hub as it was at first, and a user whose cache of it is empty."""
    hub_user_of_file.hub.reset()
    shutil.rmtree(hub_user_of_file.home, ignore_errors=True)
    for name, value in hub_user_of_file.environment.items():
        monkeypatch.setenv(name, value)
    return hub_user_of_file
