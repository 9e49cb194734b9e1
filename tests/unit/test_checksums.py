"""Checksums beside files find every change of contents, and the checksum cache reads no file twice."""

import errno
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_injections import checksums
from memory_injections.checksums import (
    ChecksumCache,
    guard_unchanged,
    hash_contents,
    locate_checked,
    locate_checksum,
    remove_dead_links,
    set_aside,
    verify_file,
    write_checksum,
)
from memory_injections.errors import ChangedFileError, DamagedFileError
from memory_injections.jobs.results import describe_contents
from memory_injections.models.sources import LocalModel
from swaps import MEANS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(random.Random(0).randbytes(1000))
    write_checksum(path)
    return path


def test_every_flipped_byte_and_every_cut_is_noticed(file: Path) -> None:
    verify_file(file)
    whole, chance = file.read_bytes(), random.Random(1)
    for _ in range(100):
        place = chance.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
        for contents in (flipped, whole[:place]):
            file.write_bytes(contents)
            with pytest.raises(DamagedFileError, match=r"table\.csv is damaged"):
                verify_file(file)


def test_a_damaged_checksum_is_noticed_and_a_file_without_one_is_taken_as_it_is(file: Path) -> None:
    checksum = locate_checksum(file)
    assert locate_checked(checksum) == file
    for contents in (b"", b"\xff" * 40, checksum.read_bytes().swapcase()):
        checksum.write_bytes(contents)
        with pytest.raises(DamagedFileError):
            verify_file(file)
    checksum.unlink()
    verify_file(file)


def test_a_damaged_file_is_set_aside_in_the_cache_that_a_link_leads_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "results" / "pairs.csv"
    link.parent.mkdir()
    link.symlink_to(file)
    assert set_aside(link) == file.with_name("table.csv.damaged")
    assert not link.is_symlink()
    assert set_aside(file) == file.with_name("table.csv.damaged")  # as another job may have done already


def test_a_folder_of_the_same_job_is_set_aside_there_too(tmp_path: Path) -> None:
    """Snakemake would move the new folder into the old one. What belongs to other jobs, or to nobody's cache, stays."""
    job, other = 64 * "a", 64 * "b"
    for name in (f"{job}_checkpoint", f"{job}_checkpoint.damaged", f"{other}_checkpoint", "model_checkpoint"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    for name in (f"{job}_manifest.json", "model_manifest.json"):
        (tmp_path / name).write_text("{}")
        (tmp_path / "link").symlink_to(tmp_path / name)
        assert set_aside(tmp_path / "link") == tmp_path / f"{name}.damaged"
    folders = {path.name: (path / "weights").read_text() for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == {
        f"{job}_checkpoint.damaged": f"{job}_checkpoint",
        f"{other}_checkpoint": f"{other}_checkpoint",
        "model_checkpoint": "model_checkpoint",
    }


def test_links_to_what_a_cache_has_lost_are_removed_and_no_others(tmp_path: Path) -> None:
    cache, results = tmp_path / "cache", tmp_path / "results"
    folder = cache / f"{64 * 'a'}_checkpoint"
    folder.mkdir(parents=True)
    (folder / "weights").touch()
    results.mkdir()
    targets = {
        "whole": folder / "weights",
        "lost": cache / f"{64 * 'b'}.csv",
        "lost_with_its_folder": cache / f"{64 * 'b'}_checkpoint" / "weights",
        "of_a_local_model": tmp_path / "not_mounted" / "weights",
    }
    for name, target in targets.items():
        (results / name).symlink_to(target)
    remove_dead_links(tmp_path)
    assert {path.name for path in results.iterdir()} == {"whole", "of_a_local_model"}


def test_the_checksum_cache_reads_a_file_again_only_if_its_status_changed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def hash_and_count(path: Path) -> str:
        read.append(path)
        return hash_contents(path)

    monkeypatch.setattr(checksums, "hash_contents", hash_and_count)
    monkeypatch.setattr(checksums, "SETTLED_SECONDS", -1)
    cache = tmp_path / "checksum_cache.json"

    def hash_anew() -> list[Path]:
        read.clear()
        known = ChecksumCache(cache)
        assert known.hash_files([file]) == {file: hash_contents(file)}
        known.save()
        return [path for path in read if path == file]

    assert hash_anew() == [file]
    assert hash_anew() == []
    # `cp -p` of other contents of the same size: only the inode's own time tells.
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hash_anew() == [file]
    # A checksum cache that is damaged itself is begun anew.
    cache.write_text(cache.read_text().replace("a", "b"))
    assert hash_anew() == [file]


def test_a_file_that_changed_just_now_is_not_noted_down(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "checksum_cache.json"
    assert time.time() - file.stat().st_ctime < checksums.SETTLED_SECONDS
    known = ChecksumCache(cache)
    known.hash_files([file])
    known.save()
    assert not cache.exists()


def test_a_checksum_cache_that_cannot_be_written_stops_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checksums, "SETTLED_SECONDS", -1)

    def fill_the_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = ChecksumCache(tmp_path / "checksum_cache.json")
    cache.hash_files([file])
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "write_text", fill_the_disk)
        cache.save()
    assert "checksum_cache.json cannot be written ([Errno 28] No space left on device)" in caplog.text
    cache.save()
    assert ChecksumCache(tmp_path / "checksum_cache.json")._known.keys() == {str(file)}


def test_damaged_results_are_found_below_a_folder(file: Path, tmp_path: Path) -> None:
    cache = ChecksumCache(tmp_path / "checksum_cache.json")
    assert cache.find_damaged(tmp_path) == []
    file.write_bytes(b"")
    assert cache.find_damaged(tmp_path) == [file]
    file.unlink()
    assert cache.find_damaged(tmp_path) == []


def test_a_checksum_cache_among_the_results_is_no_damage(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "SETTLED_SECONDS", -1.0)  # everything is noted down at once
    for name in ("one", "two"):
        file.rename(tmp_path / name)
        write_checksum(tmp_path / name)
        file = tmp_path / name
        cache = ChecksumCache(tmp_path / "checksum_cache.json")
        assert cache.find_damaged(tmp_path) == []
        cache.save()
    assert (tmp_path / ".checksum_cache.json.xxh3").exists()


@pytest.mark.parametrize("means", MEANS, ids=lambda means: means.__name__)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_other_contents_of_a_models_folder_are_noticed(
    name: str, means: Callable[[Path, bytes], None], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    for file in folder.iterdir():
        os.utime(file, (1.1e9, 1.1e9))
    source = LocalModel(source="local", path=str(folder))
    known = describe_contents(source.local_files(), ChecksumCache(tmp_path / "checksum_cache.json"))
    content = (folder / name).read_bytes()
    means(folder / name, content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert describe_contents(source.local_files(), ChecksumCache(tmp_path / "checksum_cache.json")) != known


def test_files_that_change_while_they_are_read_are_named(file: Path, tmp_path: Path) -> None:
    known = {file: hash_contents(file)}
    with guard_unchanged(known):
        file.read_bytes()
    with pytest.raises(ChangedFileError, match=r"table\.csv changed while the study ran"), guard_unchanged(known):
        file.write_bytes(file.read_bytes())
    file.write_bytes(b"other")
    with pytest.raises(ChangedFileError), guard_unchanged(known):
        raise AssertionError("the file must not be read")
    # In a folder that a job wrote, the folder has to be made again.
    folder = tmp_path / "published"
    (folder / "experiments").mkdir(parents=True)
    file = file.rename(folder / "experiments" / "table.csv")
    write_checksum(folder)
    assert ChecksumCache(tmp_path / "checksum_cache.json").find_damaged(tmp_path) == []
    file.write_bytes(b"another")
    with pytest.raises(DamagedFileError) as error, guard_unchanged({file: ""}):
        pass
    assert error.value.path == folder
    assert ChecksumCache(tmp_path / "checksum_cache.json").find_damaged(tmp_path) == [folder]
    assert set_aside(folder) == set_aside(folder) == tmp_path / "published.damaged"
