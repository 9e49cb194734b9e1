"""Writing files and folders whole or not at all, and checksums."""

import csv
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import pandas as pd

# What the names of temporary files and folders end in; they begin with a dot.
ENDING = ".tmp"
# Seconds: longer than any job between two writes.
LONGEST_JOB = 7 * 24 * 3600


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds and is removed when it fails.

    The new file is synced to disk before it replaces the old one: a power loss leaves one of the two, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{name_writer()}.{uuid.uuid4().hex[:8]}{ENDING}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block succeeds and is removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.{name_writer()}.", suffix=ENDING, dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def name_writer() -> str:
    """Return what tells this process from others that write into the same folder, on this host or another."""
    return f"{os.getpid()}@{socket.gethostname()}"


def may_be_written(temporary: Path) -> bool:
    """Return whether the process that a temporary file or folder is named after may still write it.

    Of a process of another host nobody can tell from here: its files are taken for dead after `LONGEST_JOB`.
    """
    writer = re.search(r"\.(\d+)@(.+)\.\w+$", temporary.name.removesuffix(ENDING))
    if writer is None:
        return False
    if writer[2] != socket.gethostname():
        return time.time() - temporary.lstat().st_mtime < LONGEST_JOB
    return psutil.pid_exists(int(writer[1]))


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders below a folder that killed processes have left."""
    for leftover in folder.rglob(f".*{ENDING}"):
        if may_be_written(leftover):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replace_file(path) as whole:
        whole.write_text(text, encoding="utf-8")


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table without its index as CSV, whole or not at all."""
    # A carriage return by itself is quoted only where all texts are; readers would take it for the end of a row.
    has_returns = table.select_dtypes(exclude="number").map(lambda value: "\r" in str(value)).any(axis=None)
    with replace_file(path) as whole:
        table.to_csv(whole, index=False, quoting=csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
