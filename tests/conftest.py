"""Shared fixtures: tiny models, finished downloads, and a way to run the workflow as a user does.

Anything slow to make is made once for all test processes. Libraries that are slow to import are imported where they are
used.
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from filelock import FileLock

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
# Models with the values that the authors' code gave for them: the set that travels with the project, and a larger one.
TRAVELLING, LARGER = ROOT / "tests" / "golden", SHARED / "golden" / "tiny-gpt2"
GOLDEN = {"travelling": TRAVELLING} | ({"larger": LARGER} if LARGER.is_dir() else {})
PAIRS = ROOT / "resources" / "prompt_pairs.csv"
WORDS = ROOT / "resources" / "words.csv"

if "PYTEST_XDIST_WORKER" in os.environ:
    # There is one process per core: more PyTorch threads would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# Test files that start first: those that edit the one finished study, then other slow ones.
FINISHED = (
    "test_study_runs",
    "test_accessibility",
    "test_reruns",
    "test_by_hand",
    "test_hostile_prompts",
    "test_damage",
    "test_swaps",
    "test_crate",
)
LONG = (
    *FINISHED,
    "test_digests",
    "test_module",
    "test_engines",
    "test_golden",
    "test_shared_cache",
    "test_injector",
    "test_costs",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the network, and move slow tests to the front."""
    fetched = {"default_model"} if SHARED.is_dir() else {"default_model", "authors", "authors_data"}
    for item in items:
        if fetched & set(getattr(item, "fixturenames", ())):
            item.add_marker("network")
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Say in the last lines, behind pytest's own, what was not tested."""
    yield
    from skips import describe_skips

    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    said = describe_skips(terminalreporter.getreports("skipped"), is_whole)
    if said:
        terminalreporter.write_line(said)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, run all files of the finished study in one process, and keep the order of the files."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "finished study" if Path(file).stem in FINISHED else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills once, in the first test process that needs it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each tiny model, by architecture."""

    def save(folder: Path) -> None:
        from tiny_models import save_models

        save_models(folder)

    return {path.name: path for path in make_once(tmp_path_factory, "models", save).iterdir()}


@pytest.fixture(scope="session")
def tokenizer(tiny_models: dict[str, Path]) -> "PreTrainedTokenizerFast":
    """The tokenizer of all tiny models."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(tiny_models["gpt2"])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one PyTorch thread: with several, tiny models are slower because threads wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def default_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the default study's model, fetched as by a user's first call. It needs the network."""

    def fetch(folder: Path) -> None:
        import torch
        from memory_injections.interactive.pretrained import CACHE_VARIABLE, DEFAULT, load_pretrained
        from network import network

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CACHE_VARIABLE, str(folder))
            patch.chdir(folder.parent)  # so that no study's copy of the model is found
            with network():
                load_pretrained(DEFAULT, torch.device("cpu"))

    return make_once(tmp_path_factory, "cache", fetch)


@pytest.fixture(scope="session", params=GOLDEN.values(), ids=list(GOLDEN))
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of a golden model and its values, for each set that there is."""
    return request.param


@pytest.fixture(scope="session")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the authors' results: from archives beside the clone, or else from the authors' repository."""
    archives = sorted((SHARED / "reference").glob("authors-results*.tar.xz"))

    def extract(folder: Path) -> None:
        for archive in archives:
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")

    def fetch(folder: Path) -> None:
        from network import PART, fetch_authors

        fetch_authors(PART, folder)

    return make_once(tmp_path_factory, "authors", extract if archives else fetch)


@pytest.fixture(scope="session")
def authors_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the authors' prompt pairs: beside the clone, or else from the authors' repository."""
    if (SHARED / "data").is_dir():
        return SHARED / "data"

    def fetch(folder: Path) -> None:
        from network import DATA, fetch_authors

        fetch_authors(DATA, folder)

    return make_once(tmp_path_factory, "data", fetch) / "data"


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for Python that has already imported slow libraries."""
    import fork_server

    return make_once(tmp_path_factory, "python", fork_server.start) / "python"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def snakemake(python: Path) -> Run:
    """Run Snakemake on a config in a given folder: `snakemake(folder, config, *arguments, **environment)`."""
    return make_run(python)


def make_run(python: Path) -> Run:
    """Return what runs Snakemake on a config with this Python."""

    def run(folder: Path, config: dict[str, Any], *arguments: str, **environment: str) -> Any:
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [str(python), "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        return subprocess.run(
            [*command, "--directory", str(folder), "--cores", "2", *arguments, "--configfile", "config.yaml"],
            text=True, capture_output=True, env={**os.environ, **environment}, cwd=folder,
        )  # fmt: skip

    return run


def tiny_study(model: Path, **changes: Any) -> dict[str, Any]:
    """A study with few prompts, layers and words that runs in seconds."""
    study: dict[str, Any] = {
        "study": "tiny",
        "models": {"tiny": {"source": "local", "path": str(model)}},
        "datasets": {"pairs": {"source": "file", "path": str(PAIRS), "rows": 4}},
        "words": {"source": "file", "path": str(WORDS)},
        "injection": {"memories": ["curated", "nouns"], "encodings": ["unembed"], "magnitudes": [1, 4]},
        "attribution": {"top_k": 5},
        "controls": False,
    }
    return study | changes


@pytest.fixture(scope="session")
def pairs() -> "pd.DataFrame":
    """Prompt pairs of different lengths."""
    import numpy as np
    from memory_injections.data.prompt_pairs import normalise_pairs
    from memory_injections.data.text_tables import read_csv

    table = normalise_pairs(read_csv(PAIRS), "own")
    return table.iloc[np.argsort(table["obscure_prompt"].str.len().to_numpy())[[0, 9, 20, 30, 45, 60, 71]]]
