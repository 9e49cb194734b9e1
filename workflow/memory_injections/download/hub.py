"""Downloading models and data sets from the Hugging Face hub, with one sentence for every failure."""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
from datasets import Dataset, Features, Value
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from tqdm import tqdm

from memory_injections.atomic_files import hash_file
from memory_injections.download.http import ATTEMPTS, first_line, require_space
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# Seconds between attempts unless the hub asks for another pause, and the longest pause that is accepted.
PAUSE, LONGEST_WAIT = 5, 300
BUSY = (408, 429, 500, 502, 503, 504)
CONFIG = "config.json"
MODEL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "model*.safetensors"]
OTHER_FRAMEWORKS = ["onnx/*", "coreml/*", "openvino/*", "original/*"]


def download_config(repo: str, revision: str) -> Path:
    """Download the config of a model repository; raise `StudyError` if that fails.

    A gated repository refuses this small file just as it refuses the weights.
    """
    path = _fetch_snapshot(repo, revision, [CONFIG]) / CONFIG
    if not path.is_file():
        raise StudyError(f"Hugging Face repository {repo} lacks the file {CONFIG}; name a repository with a model")
    return path


def download_model(repo: str, revision: str) -> Path:
    """Download a model repository into the hub's own cache; the name of the returned folder is the commit.

    Only weights in safetensors are taken: PyTorch's own format is a pickle, which may run any code. A file in the cache
    whose contents are not those that the hub names it after is downloaded again.
    """
    folder = _fetch_snapshot(repo, revision, MODEL_FILES)
    damaged = [blob for blob in map(Path.resolve, folder.iterdir()) if blob.is_file() and not _is_whole(blob)]
    for blob in damaged:
        logger.warning("%s is damaged and downloaded again", blob)
        blob.unlink()
    # By the commit, because the revision may have moved in the meantime.
    return _fetch_snapshot(repo, folder.name, MODEL_FILES) if damaged else folder


def _is_whole(blob: Path) -> bool:
    """Return whether a file of the hub's cache is what its name says: weights' SHA-256, and git's hash of others."""
    if len(blob.name) == 64:
        return hash_file(blob) == blob.name
    content = blob.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob.name


def download_dataset(repo: str, file: str, revision: str) -> pd.DataFrame:
    """Download one CSV file of a data set repository, and read every column as text."""
    # `load_dataset` would forget the revision and find nothing when the hub is out of reach; a snapshot is exact.
    path = _fetch_snapshot(repo, revision, [file], repo_type="dataset") / file
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


def _fetch_snapshot(repo: str, revision: str, files: list[str], repo_type: str = "model") -> Path:
    """Download some files of a repository; every failure becomes a `StudyError`.

    The client resumes interrupted files and retries some requests, but gives up others at once. So the whole call is
    repeated while the hub is busy or the connection breaks; finished files are not downloaded twice.
    """
    download = partial(
        snapshot_download, repo, repo_type=repo_type, revision=revision, allow_patterns=files,
        ignore_patterns=OTHER_FRAMEWORKS,
    )  # fmt: skip
    attempt = 1
    while True:
        try:
            return _download_what_fits(download, f"Hugging Face repository {repo}")
        except (OSError, RuntimeError, httpx2.TransportError, HFValidationError) as error:
            # The client reports an unexpected answer as a hub that cannot be reached; the cause tells.
            cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
            wait = _choose_pause(cause)
            if attempt == ATTEMPTS or wait is None:
                raise _describe_failure(repo, cause) from error
            logger.warning("%s: %s; trying again in %d s", repo, first_line(cause), wait)
        time.sleep(wait)
        attempt += 1


class _HiddenProgress(tqdm):
    """A progress bar that is not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def _download_what_fits(download: Callable[..., Any], what: str) -> Path:
    """Download a snapshot unless the disk is too small for it; if the hub is out of reach, take it from the cache."""
    try:
        planned = download(dry_run=True, tqdm_class=_HiddenProgress)
    except DryRunError as error:
        try:
            return Path(download(local_files_only=True))
        except LocalEntryNotFoundError as missing:
            raise missing from error.__cause__
    require_space(Path(constants.HF_HUB_CACHE), sum(file.file_size for file in planned if file.will_download), what)
    # By the commit, whose files the client has just listed, it asks for no list again.
    return Path(download(revision=planned[0].commit_hash) if planned else download())


def _choose_pause(error: BaseException) -> int | None:
    """Return how long to wait before the next attempt, or None if another attempt would not help."""
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
        "cannot be downloaded: the hub answered {reason}",
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


def _describe_failure(repo: str, error: BaseException) -> StudyError:
    problem, remedy = next(words for kind, *words in HUB_PROBLEMS if isinstance(error, kind))
    return StudyError(f"Hugging Face repository {repo} {problem.format(reason=first_line(error))}; {remedy}")
