"""Tables of data set repositories on the Hugging Face hub: CSV files, and splits of Parquet and JSON files."""

import glob
import logging
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from memory_injections.data.text_tables import read_csv, read_records
from memory_injections.download.http import first_line
from memory_injections.download.hub import download_data, list_data_files
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# Where a repository names its configurations and their files, and what the files of records are called.
PAGES, RECORDS = ("README.md", "dataset_infos.json"), ("*.parquet", "*.json", "*.jsonl")


def read_hub_csv(repo: str, revision: str, file: str) -> pd.DataFrame:
    """Read a CSV file of a repository as text; raise `StudyError` if it cannot be had, or is no table."""
    with TemporaryDirectory() as folder:
        download_data(repo, revision, [glob.escape(file)], Path(folder))
        path = Path(folder) / file
        if not path.is_file():
            raise StudyError(f"Hugging Face repository {repo} lacks the file {file}; correct `file` in the config")
        return read_csv(path, f"{file} of {repo}")


def read_hub_split(repo: str, revision: str, config: str | None, split: str) -> pd.DataFrame:
    """Read a split of a repository's Parquet or JSON files as text, with empty strings for missing values.

    Only the files of that split are downloaded. Columns that hold anything but text and whole numbers are left out, and
    named in the log. Raises `StudyError` if the files cannot be had or read, and if there is no such split or
    configuration.
    """
    name = f"split {split} of {repo}"
    with TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        commit = download_data(repo, revision, PAGES, folder)
        _outline(list_data_files(repo, commit), folder)
        files = [Path(file) for file in _list_files(folder, name, config, split)]
        download_data(repo, commit, [glob.escape(file.relative_to(folder).as_posix()) for file in files], folder)
        records = [record for file in files for record in read_records(file, f"{file.name} of {repo}")]
    columns = dict.fromkeys(column for record in records for column in record)
    values = {column: [record.get(column) for record in records] for column in columns}
    texts = {column: cells for column, cells in values.items() if all(map(_is_text, cells))}
    logger.info("%s: %d rows; columns that are no text: %s", name, len(records), ", ".join(columns - texts.keys()))
    written = {column: ["" if value is None else str(value) for value in cells] for column, cells in texts.items()}
    return pd.DataFrame(written, dtype=str)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _outline(names: Sequence[str], folder: Path) -> None:
    """Make an empty file for each of a repository's files of records: only their names are looked at."""
    for name in names:
        if any(fnmatch(name, pattern) for pattern in RECORDS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def _list_files(folder: Path, name: str, config: str | None, split: str) -> Sequence[str]:
    """List the files of a split, as the repository's page or the files' names say.

    `datasets` knows which they are, but does not read them: in JSON, it takes the text 1929-05-01 for a time.
    """
    import datasets  # two seconds, which other tables do without

    remedy = "give `split` and `config` of a repository with Parquet or JSON files, or a CSV file as `file`"
    try:
        splits = datasets.load_dataset_builder(str(folder), config, cache_dir=str(folder / ".cache")).config.data_files
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise StudyError(f"{name} cannot be found ({first_line(error)}); {remedy}") from error
    if split not in splits:
        raise StudyError(f"{name} cannot be found (splits: {', '.join(splits)}); {remedy}")
    return splits[split]
