"""A study verifies a user's cache of the Hugging Face hub, which it never changes, and what the hub sends."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import fork_server
import pandas as pd
import pytest
from checkout import Checkout, make_checkout
from faults import read_results
from hub import ALWAYS, COMMIT, DATA, MODEL, HubUser, describe_folder
from memory_injections.atomic_files import hash_file

OTHER = "models/someone/other"
WEIGHTS, CONFIG, PAIRS = "model.safetensors", "config.json", "pairs.csv"
MANIFEST, TABLE = "results/shared/models/tiny/manifest.json", "results/shared/datasets/pairs.csv"
CELLS = "results/tiny/cells/tiny/pairs/1-of-1.parquet"


@pytest.fixture(scope="module")
def offline_python(hub_user_of_file: HubUser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a user who has told the hub's client to ask nobody."""
    folder = tmp_path_factory.mktemp("offline")
    fork_server.start(folder, hub_user_of_file.environment | {"HF_HUB_OFFLINE": "1"})
    return folder / "python"


@pytest.fixture
def online(hub_user: HubUser, tmp_path: Path) -> Checkout:
    """A study with a model and a data set of the hub, which can be reached."""
    checkout = make_checkout(tmp_path / "checkout", Path("unused"), hub_user.python)
    checkout.config["models"] = {"tiny": {"source": "huggingface", "repo": "someone/tiny"}}
    checkout.config["datasets"]["pairs"] = {"source": "huggingface", "repo": "someone/pairs", "file": PAIRS, "rows": 3}
    return checkout


@pytest.fixture
def offline(online: Checkout, offline_python: Path) -> Checkout:
    """The same checkout where the hub cannot be reached."""
    checkout = Checkout(online.folder, online.config, offline_python)
    checkout.environment["HF_HUB_OFFLINE"] = "1"
    return checkout


def run_anew(checkout: Checkout, *targets: str) -> dict[str, bytes]:
    """Make some results from nothing, and return them."""
    shutil.rmtree(checkout.folder / "results", ignore_errors=True)
    checkout.snakemake(*targets)
    return read_results(checkout.folder)


def copy_without_links(home: Path) -> None:
    """Leave a cache as a copy by `cp -rL`, or to a file system without links: with files under their names."""
    copied = home.with_name("copied")
    subprocess.run(["cp", "-rL", home, copied], check=True)
    shutil.rmtree(home)
    copied.rename(home)


def damage_cached(home: Path, repository: str, file: str) -> Path:
    """Damage a file in a cache; return its path."""
    path = home / "hub" / repository.replace("/", "--") / "snapshots" / COMMIT / file
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return path


def test_a_cache_without_links_is_used_and_stays_as_it_is(
    hub_user: HubUser, online: Checkout, offline: Checkout
) -> None:
    hub, home = hub_user.hub, hub_user.home
    hub.commits[OTHER] = hub.commits[MODEL]
    online.config["models"]["other"] = {"source": "huggingface", "repo": "someone/other"}
    targets = (MANIFEST, MANIFEST.replace("tiny", "other"), TABLE)
    expected = run_anew(online, *targets)
    copy_without_links(home)
    before = describe_folder(home)
    hub.requests.clear()
    assert run_anew(online, *targets) == expected
    assert not [request for request in hub.requests if request.startswith(("GET cdn", "GET someone"))]
    hub.requests.clear()
    assert expected.items() < run_anew(offline, *targets, CELLS).items()
    assert hub.requests == []
    assert describe_folder(home) == before

    damaged = [damage_cached(home, *where) for where in ((MODEL, WEIGHTS), (OTHER, CONFIG), (DATA, PAIRS))]
    before = describe_folder(home)
    shutil.rmtree(offline.folder / "results")
    refused = offline.call(*targets, "--keep-going")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert read_results(offline.folder) == {}
    said = online.snakemake(*targets)
    assert read_results(online.folder) == expected
    assert describe_folder(home) == before
    for path in damaged:
        problem = f"the cache holds other bytes than the hub says in {path}; remove them with `hf cache rm hf://"
        assert problem in refused.stderr
        assert problem in said


def assert_refused(checkout: Checkout, *files: str) -> None:
    """The study's downloads end with one sentence on each of these files, and make nothing."""
    done = checkout.call(MANIFEST, TABLE, "--keep-going")
    assert done.returncode == 1
    for file in files:
        assert re.search(rf"{file} is not what the hub says \(\w+\), downloaded twice; check the network", done.stderr)
    assert "Traceback" not in done.stderr
    assert read_results(checkout.folder) == {}


def test_other_bytes_than_the_hub_says_are_never_used(hub_user: HubUser, online: Checkout) -> None:
    """Neither those that a server always sends, nor what the hub's client has put into its cache."""
    hub, home = hub_user.hub, hub_user.home
    hub.altered = {WEIGHTS: ALWAYS, PAIRS: ALWAYS}
    assert_refused(online, WEIGHTS, PAIRS)
    damage_cached(home, MODEL, CONFIG)
    hub.altered[CONFIG] = ALWAYS
    before = describe_folder(home)
    assert_refused(online, CONFIG, PAIRS)
    hub.altered = {}
    online.snakemake(MANIFEST, TABLE)
    assert describe_folder(home) == before
    hashes = json.loads((online.folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    for file in (WEIGHTS, CONFIG):
        assert hashes[file] == hash_file(hub.repos[MODEL] / file)
    assert set(pd.read_csv(online.folder / TABLE, dtype=str)["answer"]) == {"007"}
