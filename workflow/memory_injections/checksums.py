"""Checksums beside files: written with a file that later jobs trust, verified when it is read.

The checksum of `folder/name` stands in `folder/.name.xxh3`, in the form of the program `xxhsum`. It tells other
contents, whatever the cause, from those that were written. A comment below it may say what the file was made of. It is
no signature: who can change a file can change its checksum.
"""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import xxhash

from memory_injections.atomic_files import write_text
from memory_injections.errors import ChangedFileError, DamagedFileError, StudyError

logger = logging.getLogger(__name__)
ENDING = ".xxh3"
ASIDE = ".damaged"
# How Snakemake names an output in a cache of results.
CACHED = re.compile(r"(?P<job>[0-9a-f]{64})[_.].+")
# A file that changed so recently may change once more within the resolution of its times.
SETTLED_SECONDS = 2.0


def hash_contents(path: Path) -> str:
    """Return the XXH3-128 of a file, or of a folder's files and their paths, in hexadecimal.

    It is ten times as fast as SHA-256.
    """
    if path.is_dir():
        return hash_lines(f"{file.relative_to(path)} {hash_contents(file)}" for file in _list_files(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def hash_lines(lines: Iterable[str]) -> str:
    """Return the XXH3-128 of lines of text, in hexadecimal."""
    return xxhash.xxh3_128_hexdigest("\n".join(lines).encode())


def _list_files(folder: Path) -> list[Path]:
    """List the files below a folder, other than those in hidden folders."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def hash_twice(path: Path) -> tuple[str, str]:
    """Return the SHA-256 and the XXH3-128 of the same bytes of a file, in hexadecimal."""
    sha256, xxh3 = hashlib.sha256(), xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
            xxh3.update(chunk)
    return sha256.hexdigest(), xxh3.hexdigest()


def locate_checksum(path: Path) -> Path:
    """Return the path of the checksum of a file."""
    return path.with_name(f".{path.name}{ENDING}")


def locate_checked(checksum: Path) -> Path:
    """Return the path of the file that a checksum belongs to."""
    return checksum.with_name(checksum.name[1:].removesuffix(ENDING))


def write_checksum(path: Path, origin: Mapping[str, Any] | None = None) -> None:
    """Write the checksum of a finished file or folder beside it, and what it was made of, if that is given."""
    lines = [f"{hash_contents(path)}  {path.name}", *([] if origin is None else [f"# {json.dumps(origin)}"])]
    write_text("".join(f"{line}\n" for line in lines), locate_checksum(path))


def read_checksum(path: Path) -> str:
    """Return the checksum that was written with a file or folder; other text if it is damaged itself."""
    return locate_checksum(path).read_bytes()[:32].decode("ascii", errors="replace")


def read_origin(path: Path) -> dict[str, Any]:
    """Return what a file or folder was made of, as written with its checksum.

    Nothing if that is missing, damaged, or was written with a file of another name.
    """
    try:
        checksum, _, comment = locate_checksum(path).read_text(encoding="utf-8").partition("\n# ")
        origin = json.loads(comment)
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) and checksum.partition("  ")[2] == path.name else {}


def verify_file(path: Path) -> str:
    """Return the checksum of a file or folder.

    Raises `DamagedFileError` if one was written beside it, and is another.
    """
    checksum = hash_contents(path)
    if locate_checksum(path).is_file() and checksum != read_checksum(path):
        raise DamagedFileError(path)
    return checksum


def is_intact(path: Path) -> bool:
    """Return whether a file or folder exists with a checksum beside it, and its contents are those of the checksum."""
    is_finished = path.exists() and locate_checksum(path).is_file()
    return is_finished and hash_contents(path) == read_checksum(path)


@contextmanager
def guard_unchanged(checksums: Mapping[Path, str]) -> Iterator[None]:
    """Make sure that what the block reads from files are the very bytes that these checksums are of.

    The files are verified before, and their status must be the same after it. Raises `ChangedFileError` or, for a file
    in a folder that a job wrote, `DamagedFileError` with the folder.
    """

    def look() -> list[str | None]:
        return [read_status(file) if file.is_file() else None for file in checksums]

    before = look()
    for (file, checksum), status in zip(checksums.items(), before, strict=True):
        if status is None or hash_contents(file) != checksum:
            raise _describe_change(file)
    yield
    for file, now, then in zip(checksums, look(), before, strict=True):
        if now != then:
            raise _describe_change(file)


def _describe_change(file: Path) -> StudyError:
    written = (folder for folder in file.parents if folder.name and locate_checksum(folder).is_file())
    folder = next(written, None)
    return ChangedFileError(file) if folder is None else DamagedFileError(folder, f"{file} is not what its job wrote")


def set_aside(path: Path) -> Path:
    """Rename a file or folder to `name.damaged`, remove its checksum, and return the new path.

    Of a link, which leads to a cache of results, the target is renamed and the link removed. Folders of the same job go
    aside there, too: the cache would move a new one into an old one, not into its place.
    """
    target = path.resolve()
    aside = _rename_aside(target)
    if path.is_symlink() and (cached := CACHED.match(target.name)):
        for output in list(target.parent.glob(f"{cached['job']}_*")):
            if output.is_dir() and output.suffix != ASIDE:
                _rename_aside(output)
    path.unlink(missing_ok=True)
    locate_checksum(path).unlink(missing_ok=True)
    return aside


def _rename_aside(path: Path) -> Path:
    aside = path.with_name(path.name + ASIDE)
    if aside.is_dir():
        shutil.rmtree(aside)
    with suppress(FileNotFoundError):  # another job may have been faster
        path.rename(aside)
    return aside


def remove_dead_links(folder: Path) -> None:
    """Remove the links below a folder to results that are no longer in the cache where they were.

    Somebody has removed the cache, or another checkout has set them aside there. Snakemake stops at such a link.
    """
    for link in list(folder.rglob("*")):
        if link.is_symlink() and not link.exists() and any(map(CACHED.match, link.readlink().parts[-2:])):
            link.unlink(missing_ok=True)


class ChecksumCache:
    """Checksums of files by their status (size, times, inode): contents are read again only after that has changed.

    `save` keeps it in the file `path`; if that is missing or damaged, everything is read once more.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._target, self._is_new = path, path.absolute(), False

    @cached_property
    def _known(self) -> dict[str, list[str]]:
        try:
            verify_file(self._target)
            return json.loads(self._target.read_text(encoding="utf-8"))
        except (DamagedFileError, OSError, ValueError):
            return {}

    def hash_files(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return the checksum of every file and folder that exists."""
        found = {}
        for file in filter(Path.exists, files):
            status = read_status(file)
            known_status, checksum = self._known.get(str(file), ["", ""])
            if status != known_status:
                checksum = hash_contents(file)
                if time.time() - file.stat().st_ctime > SETTLED_SECONDS:
                    self._known[str(file)], self._is_new = [status, checksum], True
            found[file] = checksum
        return found

    def find_damaged(self, folder: Path) -> list[Path]:
        """List the files below a folder, other than this cache, whose contents are not those of their checksums."""
        files = [file for file in map(locate_checked, folder.rglob(f".*{ENDING}")) if file != self._path]
        return sorted(file for file, checksum in self.hash_files(files).items() if checksum != read_checksum(file))

    def save(self) -> None:
        """Write what is new to disk. If there is no room for it, the next run reads those files again."""
        if not self._is_new:
            return
        try:
            write_text(json.dumps(self._known), self._target)
            write_checksum(self._target)
            self._is_new = False
        except OSError as error:
            logger.warning("%s cannot be written (%s): the next run reads the results again", self._path, error)


def read_status(file: Path) -> str:
    """Return what changes with every change of a file's contents: its size, times and inode; a folder's files'."""
    if file.is_dir():
        return hash_lines(f"{each} {read_status(each)}" for each in _list_files(file))
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
