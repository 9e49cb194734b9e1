"""Results that later jobs and readers trust: checksums when they are written, checks when they are read."""

from collections.abc import Callable, Iterable
from pathlib import Path

from memory_injections.atomic_files import remove_leftovers
from memory_injections.checksums import ENDING, Ledger, hash_lines, set_aside, verify_file, write_checksum


def verify_inputs(paths: Iterable[Path]) -> None:
    """Raise `DamagedFileError` for the first file whose contents are not those that its job wrote."""
    for path in paths:
        verify_file(path)


def write_checksums(paths: Iterable[Path]) -> None:
    """Write the checksums of a job's outputs, other than notebooks, which are there to be edited.

    Folders have a manifest or an inventory instead.
    """
    for path in paths:
        if path.is_file() and path.suffix not in (ENDING, ".ipynb"):
            write_checksum(path)


def clean_results(folders: Iterable[Path], ledger: Ledger, is_in_use: Callable[[], bool], is_dry: bool) -> list[Path]:
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
        found += ledger.find_damaged(folder)
    if not is_dry and not is_in_use():
        for file in found:
            set_aside(file)
    return found


def describe_contents(files: Iterable[str], ledger: Ledger) -> str:
    """Return one checksum of the names and contents of files; empty if there are none."""
    checksums = ledger.hash_files(map(Path, files))
    return hash_lines(f"{file} {checksum}" for file, checksum in sorted(checksums.items())) if checksums else ""
