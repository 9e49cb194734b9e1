"""Downloading files from addresses, pinned by their checksums."""

from pathlib import Path

import pooch
import requests

from memory_injections.atomic_files import hash_file
from memory_injections.errors import StudyError

ATTEMPTS = 3


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise `StudyError` unless the file has the expected checksum."""
    found = hash_file(path)
    if found != expected:
        raise StudyError(
            f"{what} has sha256 {found}, but the config says {expected}; "
            "the file changed or was damaged: check where it comes from, then correct the sha256 in the config"
        )


def download_url(url: str, expected_sha256: str, folder: Path) -> Path:
    """Download `url` into `folder` in at most three attempts, and check its SHA-256.

    Raises `StudyError` if the download fails or the checksum is wrong.
    """
    fetcher = pooch.create(
        path=folder, base_url="", registry={"file": None}, urls={"file": url}, retry_if_failed=ATTEMPTS - 1
    )
    try:
        path = Path(fetcher.fetch("file", downloader=pooch.HTTPDownloader(timeout=30)))
    except (requests.exceptions.RequestException, ValueError) as error:
        raise StudyError(
            f"cannot download {url} ({first_line(error)}) in {ATTEMPTS} attempts; check the address and the network, "
            "or give a local copy with `source: file`"
        ) from error
    try:
        check_sha256(path, expected_sha256, url)
    except StudyError:
        path.unlink()
        raise
    return path


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
