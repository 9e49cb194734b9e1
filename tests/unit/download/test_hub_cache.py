"""The hub's cache on this machine is read and verified, and nothing in it is ever changed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub import ALWAYS, COMMIT, MODEL, Hub, assert_same_model, describe_folder
from huggingface_hub import _tree_cache, constants
from memory_injections.data.hub_tables import read_hub_file
from memory_injections.download.hub import download_config
from memory_injections.errors import StudyError

Fetch = Callable[[str], Path]
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def read_data() -> set[str]:
    """Fetch the hub's data set, and return what is special in it."""
    return set(read_hub_file("someone/pairs", "main", "pairs.csv")["answer"])


@pytest.fixture(params=["links", "names", "copied"])
def cache(
    request: pytest.FixtureRequest, hub: Hub, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A cache with a model and a data set: with links, without (`HF_HUB_DISABLE_SYMLINKS=1`), or a copy by `cp -rL`."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", request.param == "names")
    fetch("main")
    read_data()
    if request.param != "copied":
        return tmp_path / "cache"
    subprocess.run(["cp", "-rL", tmp_path / "cache", tmp_path / "copied"], check=True)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "copied"))
    return tmp_path / "copied"


def locate(cache: Path, file: str) -> Path:
    """Find a file in the cache, as the hub's client names it."""
    (found,) = cache.glob(f"*/snapshots/{COMMIT}/{file}")
    return found


def damage(cache: Path, file: str) -> dict[str, Any]:
    """Damage a file in the cache, and describe the cache."""
    path = locate(cache, file)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    return describe_folder(cache)


def forget_listings(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the cache as older clients do, without the hub's listings."""
    monkeypatch.setattr(_tree_cache, "_IN_MEMORY_TREE_CACHE", {})
    for trees in cache.glob("*/trees"):
        shutil.rmtree(trees)


@pytest.mark.parametrize("is_offline", [False, True])
def test_a_cache_of_any_kind_is_used_and_not_changed(
    cache: Path, is_offline: bool, fetch: Fetch, hub: Hub, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    before, asked = describe_folder(cache), len(hub.requests)
    folder = fetch("main")
    assert_same_model(folder, repos[MODEL])
    assert read_data() == {"007"}
    download_config("someone/tiny", "main", tmp_path)
    for file in folder.iterdir():  # as Snakemake does with what it keeps in its own cache
        file.chmod(0o666)
        file.write_bytes(b"")
    assert describe_folder(cache) == before
    assert not [request for request in hub.requests[asked:] if "resolve" in request or "cdn" in request]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG])
def test_an_intact_file_is_fetched_past_a_damaged_one(
    cache: Path, file: str, fetch: Fetch, repos: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = damage(cache, file)
    folder = fetch("main")
    assert_same_model(folder, repos[MODEL])
    assert not [path for path in folder.iterdir() if path.is_dir()]
    assert describe_folder(cache) == before
    assert f"the cache holds other bytes than the hub says in {locate(cache, file)};" in caplog.text
    assert f"`hf cache rm hf://models/someone/tiny/{file}`" in caplog.text


def test_intact_data_are_fetched_past_damaged_ones(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = damage(cache, "pairs.csv")
    assert read_data() == {"007"}
    assert describe_folder(cache) == before
    assert f"the cache holds other bytes than the hub says in {locate(cache, 'pairs.csv')};" in caplog.text
    assert "`hf cache rm hf://datasets/someone/pairs/pairs.csv`" in caplog.text


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, "pairs.csv"])
def test_offline_a_damaged_file_is_named_and_left_alone(
    cache: Path, file: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = damage(cache, file)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    sentence = (
        f"other bytes than the hub says in {locate(cache, file)}; remove them with `hf cache rm .* again where the hub"
    )
    with pytest.raises(StudyError, match=sentence):
        read_data() if file == "pairs.csv" else fetch("main")
    assert describe_folder(cache) == before


@pytest.mark.parametrize("cache", ["links"], indirect=True)
def test_offline_a_link_to_a_hash_tells_what_a_file_should_be(
    cache: Path, fetch: Fetch, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_listings(cache, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_same_model(fetch("main"), repos[MODEL])
    # What repositories share has a name of another kind of hash.
    blob = locate(cache, WEIGHTS).resolve()
    shared = cache / "blobs" / "ab" / ("ab" + 62 * "0")
    shared.parent.mkdir(parents=True)
    blob.symlink_to(blob.rename(shared))
    assert_same_model(fetch("main"), repos[MODEL])
    damage(cache, WEIGHTS)
    with pytest.raises(StudyError, match="other bytes than the hub says"):
        fetch("main")


@pytest.mark.parametrize("cache", ["names", "copied"], indirect=True)
def test_offline_a_name_is_no_checksum(
    cache: Path, fetch: Fetch, repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forget_listings(cache, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = describe_folder(cache)
    assert_same_model(fetch("main"), repos[MODEL])
    assert read_data() == {"007"}
    assert describe_folder(cache) == before
    assert "someone/tiny: nothing here says what config.json," in caplog.text
    assert "someone/pairs: nothing here says what pairs.csv should be" in caplog.text


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, "pairs.csv"])
def test_a_hub_that_sends_other_bytes_than_it_says(
    file: str, hub: Hub, fetch: Fetch, repos: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    hub.altered = {file: ALWAYS}
    with pytest.raises(StudyError, match=f"{file} is not what the hub says .*, downloaded twice; check the network"):
        read_data() if file == "pairs.csv" else fetch("main")
    hub.altered = {file: 1}
    with pytest.raises(StudyError, match="downloaded twice"):
        read_data() if file == "pairs.csv" else fetch("main")


def test_a_download_that_is_damaged_once(
    hub: Hub, fetch: Fetch, repos: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    hub.altered = {WEIGHTS: 1, "pairs.csv": 1}
    assert_same_model(fetch("main"), repos[MODEL])
    assert read_data() == {"007"}
    assert hub.altered == {WEIGHTS: 0, "pairs.csv": 0}
    assert caplog.text.count("what is used now is downloaded past the cache") == 2


def test_a_file_that_somebody_else_may_read_only_is_named(
    hub: Hub, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("main")
    weights = locate(tmp_path / "cache", WEIGHTS)
    # Whoever runs the tests as root may read everything.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != WEIGHTS)
    with pytest.raises(StudyError, match=f"^file {weights} of the Hugging Face cache cannot be read; make it readable"):
        fetch("main")


def test_a_cache_that_cannot_be_written_is_named(
    hub: Hub, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        for download in (read_data, lambda: fetch("main")):
            with pytest.raises(StudyError, match=f"^cache folder {cache} of the Hugging Face hub cannot be written"):
                download()
    assert (tmp_path / "file").read_text() == "in the way"
