"""Checkouts share results through Snakemake's cache, and an edit of the library never restores a stale one."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from checkout import Checkout, make_checkout
from hub import COMMIT, MODEL, NEXT_COMMIT, HubUser, describe_folder

CELLS = "results/tiny/cells/tiny/pairs/1-of-1.parquet"
NO_BOS = "results/shared/activations/tiny/pairs.no-bos.safetensors"
BOS = "results/shared/activations/tiny/pairs.bos.safetensors"
MANIFEST, CHECK = (f"results/shared/models/tiny/{file}.json" for file in ("manifest", "check"))
PINNED = {"source": "huggingface", "repo": "someone/tiny", "revision": COMMIT}
CELLS_LOG = "tiny/cells/tiny/pairs/1-of-1.log"
COMPUTER = "workflow/memory_injections/injection/cell_computer.py"


def make_sharing_checkout(folder: Path, model: Path, cache: Path, python: Path) -> Checkout:
    """Make a checkout of a tiny study, with a cache that checkouts share."""
    checkout = make_checkout(folder, model, python, attribution={"bos": False})
    checkout.environment["SNAKEMAKE_OUTPUT_CACHE"] = str(cache)
    return checkout


def run(checkout: Checkout) -> set[str]:
    """Make the study's cells and activations; return the logs of the jobs that computed something."""
    logs = checkout.folder / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    checkout.snakemake(CELLS, NO_BOS, "--cache")
    return {log.relative_to(logs).as_posix() for log in logs.rglob("*.log") if log.stat().st_size}


def test_two_checkouts_share_results_and_never_a_stale_one(
    tiny_models: dict[str, Path], python: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first, second = (
        make_sharing_checkout(tmp_path / name, tiny_models["gpt2"], cache, python) for name in ("first", "second")
    )
    everything = run(first)
    assert {
        "shared/activations/tiny/pairs.bos.log",
        "shared/activations/tiny/pairs.no-bos.log",
        CELLS_LOG,
    } <= everything
    assert run(second) == set()
    for file in (CELLS, BOS, NO_BOS):
        assert (second.folder / file).read_bytes() == (first.folder / file).read_bytes()
    # One rule makes two results from the same inputs: with BOS and without.
    assert (second.folder / BOS).read_bytes() != (second.folder / NO_BOS).read_bytes()

    second.replace(COMPUTER, "logits.log_softmax", "logits.mul(0.5).log_softmax")
    assert run(second) == {CELLS_LOG}
    before, after = (pd.read_parquet(checkout.folder / CELLS) for checkout in (first, second))
    assert not before["p_obscure"].equals(after["p_obscure"])
    assert run(first) == set()
    assert pd.read_parquet(first.folder / CELLS).equals(before)


def test_a_moved_branch_brings_no_cells_of_another_commit(
    tiny_models: dict[str, Path], hub_user: HubUser, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    model = {"tiny": {"source": "huggingface", "repo": "someone/tiny"}}
    first, second = (
        make_sharing_checkout(tmp_path / name, tiny_models["gpt2"], cache, hub_user.python)
        for name in ("first", "second")
    )
    for checkout in (first, second):
        checkout.config["models"] = model
    run(first)
    hub_user.hub.commits[MODEL][NEXT_COMMIT] = tiny_models["llama"]
    assert CELLS_LOG in run(second)
    before, after = (pd.read_parquet(checkout.folder / CELLS) for checkout in (first, second))
    assert not before["p_obscure"].equals(after["p_obscure"])
    alone = make_checkout(tmp_path / "alone", tiny_models["llama"], hub_user.python, attribution={"bos": False})
    alone.snakemake(CELLS)
    pd.testing.assert_frame_equal(pd.read_parquet(alone.folder / CELLS), after)


def describe_files(*folders: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    """Mode, size, date and contents of every file that is not a result, a log or a record of a run."""
    made = {"results", ".snakemake", "logs", "benchmarks", "__pycache__", "study.yaml"}
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not made & set(path.parts))
    return {
        path: (path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes()) for path in files
    }


@pytest.mark.parametrize("options", [(), ("--cache",)])
def test_a_users_files_stay_as_they_are(
    options: tuple[str, ...], tiny_models: dict[str, Path], hub_user: HubUser, tmp_path: Path
) -> None:
    """With a local model beside one of the hub, with and without a cache of results."""
    cache, mine = tmp_path / "cache", shutil.copytree(tiny_models["llama"], tmp_path / "mine")
    cache.mkdir()
    for file in mine.iterdir():
        file.chmod(0o640)
    checkout = make_sharing_checkout(tmp_path / "checkout", mine, cache, hub_user.python)
    checkout.config["models"]["other"] = {"source": "huggingface", "repo": "someone/tiny"}
    targets = [CELLS.replace("/cells/tiny/", f"/cells/{model}/") for model in ("tiny", "other")]
    checkout.snakemake(*targets, *options)
    folders = mine, hub_user.home, checkout.folder
    before = describe_files(*folders)
    assert {mode & 0o777 for path, (mode, *_) in before.items() if path.parent == mine} == {0o640}
    assert any(path.is_relative_to(hub_user.home) for path in before)
    assert not any(path.is_dir() for path in cache.iterdir())  # no model's folder is in it
    shutil.rmtree(checkout.folder / "results")
    checkout.snakemake(*targets, *options)
    shutil.rmtree(checkout.folder / "results")
    assert describe_files(*folders) == before


def describe_folders(cache: Path) -> dict[Path, bytes]:
    """The folders in a cache, which are models', and their weights."""
    return {path: (path / "model.safetensors").read_bytes() for path in cache.glob("*_checkpoint")}


def test_the_cache_takes_a_pinned_model_and_no_other(
    tiny_models: dict[str, Path], hub_user: HubUser, tmp_path: Path
) -> None:
    """What it makes writable for everybody are copies: the user's files stay as they are, also in the hub's cache."""
    cache, mine = tmp_path / "cache", shutil.copytree(tiny_models["llama"], tmp_path / "mine")
    cache.mkdir()
    models = {"pinned": PINNED, "branch": PINNED | {"revision": "main"}, "mine": {"source": "local", "path": str(mine)}}
    manifests = {name: MANIFEST.replace("tiny", name) for name in models}
    first, second = (make_sharing_checkout(tmp_path / name, mine, cache, hub_user.python) for name in ("1", "2"))
    first.config["models"] = second.config["models"] = models
    first.snakemake(*manifests.values())
    for file in (*mine.iterdir(), *hub_user.home.rglob("blobs/*")):
        file.chmod(0o640)
    before = [describe_folder(folder) for folder in (mine, hub_user.home)]
    shutil.rmtree(first.folder / "results")
    first.snakemake(*manifests.values(), "--cache")
    assert [describe_folder(folder) for folder in (mine, hub_user.home)] == before
    kept = describe_folders(cache)
    assert list(kept.values()) == [(tiny_models["gpt2"] / "model.safetensors").read_bytes()]

    shutil.rmtree(hub_user.home)  # as of another user
    del models["branch"]
    hub_user.hub.requests.clear()
    second.snakemake(manifests["pinned"], manifests["mine"], "--cache")
    assert not [request for request in hub_user.hub.requests if "safetensors" in request or "cdn" in request]
    weights = (second.folder / manifests["pinned"]).with_name("checkpoint") / "model.safetensors"
    assert weights.resolve().parent in kept
    for name in ("pinned", "mine"):
        assert (second.folder / manifests[name]).read_bytes() == (first.folder / manifests[name]).read_bytes()
    assert describe_folders(cache) == kept


def test_a_damaged_model_in_the_cache_is_fetched_again(
    tiny_models: dict[str, Path], hub_user: HubUser, tmp_path: Path
) -> None:
    """Here by a checkout whose results are links to what another has set aside."""
    cache = tmp_path / "cache"
    cache.mkdir()
    first, second = (
        make_sharing_checkout(tmp_path / name, Path("unused"), cache, hub_user.python) for name in ("first", "second")
    )
    first.config["models"] = second.config["models"] = {"tiny": PINNED}
    first.snakemake(MANIFEST, "--cache")
    kept = describe_folders(cache)
    for folder, weights in kept.items():
        (folder / "model.safetensors").write_bytes(weights[:-1] + b"!")
    done = second.call(CHECK, "--cache")
    assert done.returncode == 1
    assert f"{folder / 'model.safetensors'} is no longer the file that it describes" in done.stderr
    first.snakemake(CHECK, "--cache")
    assert describe_folders(cache) == kept
