"""Downloading models and data sets from the Hugging Face hub, verified, with one sentence for every failure.

The hub's cache on this machine belongs to its user. The hub's client adds to it what it lacks; whatever is there is
only read. It is copied to where it is used, so that nothing that happens to the copy happens to the user's file.
"""

import glob
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal

import httpx2
from huggingface_hub import HfApi, HfFileSystem, constants, snapshot_download
from huggingface_hub._tree_cache import read_tree_cache
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects, parse_ratelimit_headers
from huggingface_hub.utils.sha import git_hash
from tqdm import tqdm

from memory_injections.atomic_files import hash_file
from memory_injections.download.http import ATTEMPTS, first_line, require_space
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# Seconds between attempts unless the hub asks for another pause, and the longest pause that is accepted.
PAUSE, LONGEST_WAIT = 5, 300
BUSY = (408, 429, 500, 502, 503, 504)
CONFIG = "config.json"
Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class _Files:
    """The files of a repository on the hub whose names match some patterns."""

    repo: str
    revision: str
    patterns: tuple[str, ...]
    kind: Kind = "model"

    def __str__(self) -> str:
        return f"Hugging Face repository {self.repo}"

    @property
    def ignored(self) -> tuple[str, ...]:
        """Patterns of what is left out: of a model, the folders, which hold it in the formats of other frameworks."""
        return ("*/*",) if self.kind == "model" else ()

    def select(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that are wanted."""
        return list(filter_repo_objects(names, allow_patterns=list(self.patterns), ignore_patterns=list(self.ignored)))


def download_config(repo: str, revision: str, folder: Path) -> Path:
    """Download the config of a model repository into a folder; raise `StudyError` if that fails.

    A gated repository refuses this small file just as it refuses the weights.
    """
    download_model(repo, revision, folder, [CONFIG])
    return folder / CONFIG


def download_model(repo: str, revision: str, folder: Path, patterns: Iterable[str]) -> str:
    """Fill an empty folder with the files of a model repository whose names match patterns, and return their commit.

    Raises `StudyError` if a file cannot be had as the hub describes it.
    """
    commit = _fetch_files(_Files(repo, revision, tuple(patterns)), folder)
    if not (folder / CONFIG).is_file():
        raise StudyError(f"Hugging Face repository {repo} lacks the file {CONFIG}; name a repository with a model")
    return commit


def download_data(repo: str, revision: str, patterns: Iterable[str], folder: Path) -> str:
    """Fill a folder with the files of a data set repository whose names match patterns, and return their commit."""
    return _fetch_files(_Files(repo, revision, tuple(patterns), "dataset"), folder)


@contextmanager
def open_data_file(repo: str, commit: str, file: str) -> Iterator[IO[bytes]]:
    """Open a file of a commit of a data set repository for reading parts of it, which alone are downloaded.

    They do not go through the cache on this machine, and there is no checksum of a part. The hub's client raises one of
    `UNREACHABLE` or an `OSError` if it cannot have them.
    """
    hub = HfFileSystem(endpoint=constants.ENDPOINT, skip_instance_cache=True)
    with hub.open(f"datasets/{repo}@{commit}/{file}", "rb", cache_type="none") as opened:
        yield opened


def list_data_files(repo: str, commit: str) -> list[str]:
    """List all files of a commit of a data set repository, some of which `download_data` has downloaded.

    The hub's client has kept the listing. Where an older one has not, those are listed that are in its cache.
    """
    store = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="dataset")
    kept = read_tree_cache(str(store), commit)
    return _list_files(store / "snapshots" / commit) if kept is None else list(kept)


def _list_files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def _fetch_files(wanted: _Files, folder: Path) -> str:
    """Fill a folder with files of a repository that are what the hub says they are, and return their commit.

    They are copied from the hub's cache on this machine. A file that is damaged there is downloaded past the cache.
    Raises `StudyError` if that fails, or the second download is not what the hub says either.
    """
    snapshot = _fetch_snapshot(wanted, Path(constants.HF_HUB_CACHE))
    names = wanted.select(_list_files(snapshot))
    require_space(folder, sum((snapshot / name).stat().st_size for name in names), str(wanted))
    for name in names:
        _copy_from_cache(snapshot / name, folder / name)
    told = _ask_hub(wanted, snapshot.name)
    hashes = _recall_hashes(snapshot) if told is None else told
    if unknown := [name for name in names if name not in hashes]:
        logger.warning("%s: nothing here says what %s should be; taken unverified", wanted, ", ".join(unknown))
    damaged = [name for name in names if name in hashes and not _is_whole(folder / name, hashes[name])]
    if damaged and told is None:
        raise StudyError(f"{_describe_damage(wanted, snapshot, damaged)} and run it again where the hub can be reached")
    if damaged:
        logger.warning("%s; what is used now is downloaded past the cache", _describe_damage(wanted, snapshot, damaged))
        _fetch_past_cache(replace(wanted, revision=snapshot.name), folder, {name: hashes[name] for name in damaged})
    return snapshot.name


def _copy_from_cache(file: Path, target: Path) -> None:
    if not os.access(file, os.R_OK):
        raise StudyError(f"file {file} of the Hugging Face cache cannot be read; make it readable for yourself")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def _ask_hub(wanted: _Files, commit: str) -> Mapping[str, str] | None:
    """Return the hash of every file of a commit as the hub has it: of large files SHA-256, of others git's.

    None if the hub cannot be reached.
    """
    try:
        tree = list(HfApi().list_repo_tree(wanted.repo, recursive=True, revision=commit, repo_type=wanted.kind))
    except UNREACHABLE as error:
        logger.info("%s: the hub does not say what the files should be (%s)", wanted, first_line(error))
        return None
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in tree if isinstance(file, RepoFile)}


def _recall_hashes(snapshot: Path) -> Mapping[str, str]:
    """Return the hashes of files as the hub's client has kept them beside a snapshot, as far as it has.

    Newer clients keep the hub's listing of a commit. With symbolic links, the files are named after their hashes; other
    names say nothing.
    """
    links = (path for path in snapshot.rglob("*") if path.is_symlink())
    # The first link only: files that repositories share are named after hashes of another kind.
    blobs = {path.relative_to(snapshot).as_posix(): path.readlink() for path in links}
    is_hash = re.compile("[0-9a-f]{40}|[0-9a-f]{64}").fullmatch
    names = {name: blob.name for name, blob in blobs.items() if blob.parent.name == "blobs" and is_hash(blob.name)}
    tree = read_tree_cache(str(snapshot.parents[1]), snapshot.name) or {}
    return names | {name: file.lfs_sha256 or file.blob_id for name, file in tree.items()}


def _is_whole(file: Path, expected: str) -> bool:
    """Return whether a file has the hash that the hub names: SHA-256, or git's, which is shorter."""
    return (hash_file(file) if len(expected) == 64 else git_hash(file.read_bytes())) == expected


def _describe_damage(wanted: _Files, snapshot: Path, damaged: list[str]) -> str:
    files = ", ".join(str(snapshot / name) for name in damaged)
    targets = " ".join(f"hf://{wanted.kind}s/{wanted.repo}/{name}" for name in damaged)
    return (
        f"{wanted}: the cache holds other bytes than the hub says in {files}; remove them with `hf cache rm {targets}`"
    )


def _fetch_past_cache(wanted: _Files, folder: Path, hashes: Mapping[str, str]) -> None:
    """Download some files of a commit into a folder, not through the hub's cache, and verify them."""
    with TemporaryDirectory(dir=folder) as cache:
        fetched = _fetch_snapshot(replace(wanted, patterns=tuple(map(glob.escape, hashes))), Path(cache))
        for name, expected in hashes.items():
            (fetched / name).resolve().replace(folder / name)
            if not _is_whole(folder / name, expected):
                raise StudyError(
                    f"{wanted}: {name} is not what the hub says ({expected}), downloaded twice; "
                    "check the network (HF_ENDPOINT, a proxy), or try again later"
                )


def _fetch_snapshot(wanted: _Files, cache: Path) -> Path:
    """Download some files of a repository into a cache of the hub's form; every failure becomes a `StudyError`.

    The client resumes interrupted files and retries some requests, but gives up others at once. So the whole call is
    repeated while the hub is busy or the connection breaks; finished files are not downloaded twice.
    """
    download = partial(
        snapshot_download, wanted.repo, repo_type=wanted.kind, revision=wanted.revision, cache_dir=cache,
        allow_patterns=list(wanted.patterns), ignore_patterns=list(wanted.ignored),
    )  # fmt: skip
    attempt = 1
    while True:
        try:
            return _download_what_fits(download, cache, str(wanted))
        except (OSError, RuntimeError, httpx2.TransportError, HFValidationError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of the network
                raise StudyError(
                    f"cache folder {cache} of the Hugging Face hub cannot be written ({error}); make room and give "
                    "yourself access there, or set HF_HUB_CACHE to another folder"
                ) from error
            # The client reports an unexpected answer as a hub that cannot be reached; the cause tells.
            cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
            wait = _choose_pause(cause)
            if attempt == ATTEMPTS or wait is None:
                raise _describe_failure(wanted.repo, cause) from error
            logger.warning("%s: %s; trying again in %d s", wanted.repo, first_line(cause), wait)
        time.sleep(wait)
        attempt += 1


class _HiddenProgress(tqdm):
    """A progress bar that is not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def _download_what_fits(download: Callable[..., Any], cache: Path, what: str) -> Path:
    """Download a snapshot unless the disk is too small for it; if the hub is out of reach, take it from the cache."""
    try:
        planned = download(dry_run=True, tqdm_class=_HiddenProgress)
    except DryRunError as error:
        try:
            return Path(download(local_files_only=True))
        except LocalEntryNotFoundError as missing:
            raise missing from error.__cause__
    require_space(cache, sum(file.file_size for file in planned if file.will_download), what)
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


UNREACHABLE = (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled)
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
