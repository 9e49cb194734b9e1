"""Tables of data set repositories on the Hugging Face hub: CSV files, and splits of Parquet and JSON files."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from memory_injections.data.text_tables import read_csv
from memory_injections.download.http import first_line
from memory_injections.download.hub import _fetch_snapshot
from memory_injections.errors import StudyError

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)
# What `datasets` reads with types of its own, and the page that names configurations and their files.
SPLIT_FILES = ("*.parquet", "*.json", "*.jsonl", "README.md")
# Values of these kinds are text, or have one way to be written as text.
TEXT_KINDS = ("string", *(f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)))


def read_hub_csv(repo: str, revision: str, file: str) -> pd.DataFrame:
    """Read a CSV file of a repository as text; raise `StudyError` if it cannot be had, or is no table."""
    with TemporaryDirectory() as folder:
        _fill(Path(folder), repo, revision, [file])
        path = Path(folder) / file
        if not path.is_file():
            raise StudyError(f"Hugging Face repository {repo} lacks the file {file}; correct `file` in the config")
        return read_csv(path, f"{file} of {repo}")


def read_hub_split(repo: str, revision: str, config: str | None, split: str, needed: Sequence[str]) -> pd.DataFrame:
    """Read a split of a repository's Parquet or JSON files as text, with empty strings for missing values.

    Columns that hold neither text nor whole numbers are left out. Raises `StudyError` if a `needed` one is among them,
    if the files cannot be had or read, and if there is no such split or configuration.
    """
    name = f"split {split} of {repo}"
    with TemporaryDirectory() as folder:
        _fill(Path(folder) / "files", repo, revision, SPLIT_FILES)
        table = _load_split(Path(folder), name, config, split)
        kinds = {column: str(getattr(kind, "dtype", kind)) for column, kind in table.features.items()}
        texts = [column for column, kind in kinds.items() if kind.removeprefix("large_") in TEXT_KINDS]
        for column in set(needed).intersection(kinds).difference(texts):
            raise StudyError(f"{name}: column {column} holds {kinds[column]}, not text; name another in `columns`")
        rows = {column: ["" if value is None else str(value) for value in table[column]] for column in texts}
    logger.info("%s: %d rows", name, len(table))
    return pd.DataFrame(rows, dtype=str)


def _load_split(folder: Path, name: str, config: str | None, split: str) -> "datasets.Dataset":
    import datasets  # two seconds, which other tables do without

    try:
        return datasets.load_dataset(
            str(folder / "files"), config, split=split, cache_dir=str(folder / "cache"), keep_in_memory=True
        )
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise StudyError(
            f"{name} cannot be read ({first_line(error.__cause__ or error)}); give `split` and `config` of a "
            "repository with Parquet or JSON files, or a CSV file as `file`"
        ) from error


def _fill(folder: Path, repo: str, revision: str, patterns: Sequence[str]) -> None:
    """Fill a folder with the files of a data set repository whose names match patterns."""
    shutil.copytree(_fetch_snapshot(repo, revision, list(patterns), repo_type="dataset"), folder, dirs_exist_ok=True)
