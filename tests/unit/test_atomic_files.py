"""Leftovers of processes that are gone are removed; those that somebody may still write stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from memory_injections import atomic_files
from memory_injections.atomic_files import LONGEST_JOB, name_writer, remove_leftovers, replace_file, replace_folder


@pytest.fixture
def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_process_writes_stays_while_it_lives(tmp_path: Path, dead_process: int) -> None:
    host = name_writer().partition("@")[2]
    dead = [tmp_path / f".table.csv.{dead_process}@{host}.0badcafe.tmp", tmp_path / ".table.csv.0badcafe.tmp"]
    for path in dead:
        path.write_text("half a table")
    with replace_file(tmp_path / "table.csv") as file, replace_folder(tmp_path / "folder") as folder:
        file.write_text("half a table")
        remove_leftovers(tmp_path)
        assert file.exists()
        assert folder.exists()
        assert not any(path.exists() for path in dead)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "table.csv"]


def test_what_another_host_writes_stays_until_it_must_be_dead(tmp_path: Path) -> None:
    path = tmp_path / f".table.csv.{os.getpid()}@node17.cluster.example.org.0badcafe.tmp"
    path.write_text("half a table")
    remove_leftovers(tmp_path)
    assert path.exists()
    old = time.time() - LONGEST_JOB - 1
    os.utime(path, (old, old))
    remove_leftovers(tmp_path)
    assert not path.exists()


def test_hosts_with_the_same_process_ids_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name_writer()
    monkeypatch.setattr(atomic_files.socket, "gethostname", lambda: "elsewhere")
    assert name_writer() != before
