"""Downloading files from addresses, pinned by their checksums."""

import shutil
from pathlib import Path
from typing import Any

import pooch
import requests

from memory_injections.atomic_files import hash_file
from memory_injections.errors import StudyError

ATTEMPTS = 3
# Far more than any file of prompts or words needs.
LARGEST_GIB, MOST_REDIRECTS = 4, 5


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise `StudyError` unless the file has the expected checksum."""
    found = hash_file(path)
    if found != expected:
        raise StudyError(
            f"{what} has sha256 {found}, but the config says {expected}; "
            "the file changed or was damaged: check where it comes from, then correct the sha256 in the config"
        )


def require_space(folder: Path, n_bytes: int, what: str) -> None:
    """Raise `StudyError` unless so many bytes fit on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if n_bytes > free:
        raise StudyError(
            f"{what} takes {n_bytes / 1e9:.1f} GB, but the disk of {existing} has {free / 1e9:.1f} GB left; "
            "free some, or check that it is what the config should name"
        )


def download_url(url: str, expected_sha256: str, folder: Path) -> Path:
    """Download `url` into `folder` in at most three attempts, and check its SHA-256.

    Raises `StudyError` if the download fails, is too large or redirected too often, or the checksum is wrong.
    """
    fetcher = pooch.create(
        path=folder, base_url="", registry={"file": None}, urls={"file": url}, retry_if_failed=ATTEMPTS - 1
    )
    try:
        path = Path(fetcher.fetch("file", downloader=_download_bounded))
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


def _download_bounded(url: str, file: str, _: Any) -> None:
    with requests.Session() as session:
        session.max_redirects = MOST_REDIRECTS
        with session.get(url, stream=True, timeout=30) as response, Path(file).open("wb") as output:
            response.raise_for_status()
            for chunk in response.iter_content(1 << 20):
                output.write(chunk)
                if output.tell() > LARGEST_GIB * 2**30:
                    raise StudyError(f"{url} is larger than {LARGEST_GIB} GiB; check the address")


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
