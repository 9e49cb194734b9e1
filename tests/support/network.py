"""What tests fetch over the network, and what happens where there is none."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from memory_injections.download.git import fetch_commit
from memory_injections.errors import StudyError
from memory_injections.paper.published_sources import CURATED_RESULTS, RANDOM_RESULTS, WORD_RESULTS

# The three folders that the paper's 44.895, 68.471 and 423.734 come from.
CURATED_FOLDERS = tuple(
    f"{CURATED_RESULTS}/{part}/memory_tweaker_unembed_head_hook"
    for part in ("data/gpt2-small", "data/gpt2-large", "multi_1000/gpt2-small")
)
# The part of the authors' results that is beside the clone where the project is made.
PART = (
    *CURATED_FOLDERS,
    *(f"{CURATED_RESULTS}/data/{model}/memory_layer_encoding_hook" for model in ("gpt2-small", "gpt2-large")),
    f"{CURATED_RESULTS}/data/gpt2-small/memory_tweaker_embed_head_hook",
    f"{RANDOM_RESULTS}/gpt2-small/hand",
    *(f"{RANDOM_RESULTS}/gpt2-small/2wmh/*/*_{magnitude}.csv" for magnitude in (4, 5)),
    *(f"{RANDOM_RESULTS}/gpt2-large/hand/*/*_{magnitude}.csv" for magnitude in (6, 10)),
    WORD_RESULTS,
)
DATA = ("data",)


def fetch_authors(paths: Iterable[str], folder: Path) -> None:
    """Fill an empty folder with files of the authors' repository, from where the re-analysis gets them."""
    source = yaml.safe_load((ROOT / "config" / "reanalysis.yaml").read_text(encoding="utf-8"))["published"]
    with network():
        fetch_commit(source["repo"], source["commit"], list(paths), folder)


@contextmanager
def network() -> Iterator[None]:
    """Skip the test if what it fetches cannot be fetched; if REQUIRE_NETWORK is set, it fails."""
    missing = pytest.fail if os.environ.get("REQUIRE_NETWORK") else pytest.skip
    try:
        yield
    except StudyError as error:
        missing(f"needs the network: {error}")
