"""Checksums of results: written with them, verified before they are read, and damaged results set aside."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from memory_injections.atomic_files import remove_leftovers
from memory_injections.checksums import (
    ChecksumCache,
    hash_lines,
    remove_dead_links,
    set_aside,
    verify_file,
    write_checksum,
)
from memory_injections.jobs.provenance import carries_origin


def verify_inputs(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the checksums of a job's inputs.

    Raises `DamagedFileError` for the first one whose contents are not those that its job wrote.
    """
    return {path: verify_file(path) for path in paths if path.exists()}


def write_checksums(paths: Iterable[Path], origin: Mapping[str, Any] | None = None) -> None:
    """Write the checksums of a job's outputs, and what they were made of."""
    for path in paths:
        if path.exists() and carries_origin(path):
            write_checksum(path, origin)


def clean_results(
    folders: Iterable[Path], known: ChecksumCache, is_in_use: Callable[[], bool], is_dry: bool
) -> list[Path]:
    """Set damaged results below some folders aside, remove what killed jobs left, and return the damaged files' paths.

    If `is_dry`, nothing is changed. Nothing is even looked at while another run is at work here. A result is read only
    if its status is another than when it was last verified.
    """
    found: list[Path] = []
    for folder in folders:
        if is_in_use():
            break
        if not is_dry:
            remove_leftovers(folder)
            remove_dead_links(folder)
        found += known.find_damaged(folder)
    if not is_dry and not is_in_use():
        for file in found:
            set_aside(file)
    return found


def describe_contents(files: Iterable[str], known: ChecksumCache) -> str:
    """Return one checksum of the names and contents of files; empty if there are none."""
    checksums = known.hash_files(map(Path, files))
    return hash_lines(f"{file} {checksum}" for file, checksum in sorted(checksums.items())) if checksums else ""
