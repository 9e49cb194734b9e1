"""Tables of data set repositories on the Hugging Face hub: single files, and splits of Parquet, JSON and CSV files."""

import glob
import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from memory_injections.data.text_tables import read_first_rows, read_table
from memory_injections.download.http import first_line
from memory_injections.download.hub import UNREACHABLE, download_data, list_data_files, open_data_file
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# Where a repository names its configurations and their files, and what the files of tables are called.
PAGES, TABLES = ("README.md", "dataset_infos.json"), ("*.parquet", "*.json", "*.jsonl", "*.csv")


def read_hub_file(repo: str, revision: str, file: str) -> pd.DataFrame:
    """Read a file of a repository as `read_table` does; raise `StudyError` if it cannot be had, or is no table."""
    with TemporaryDirectory() as folder:
        download_data(repo, revision, [glob.escape(file)], Path(folder))
        path = Path(folder) / file
        if not path.is_file():
            raise StudyError(f"Hugging Face repository {repo} lacks the file {file}; correct `file` in the config")
        return read_table(path, f"{file} of {repo}")


def read_hub_split(repo: str, revision: str, config: str | None, split: str, rows: int | None = None) -> pd.DataFrame:
    """Read a split of a repository's files as `read_table` does each of them.

    Only the files of that split are downloaded and, with `rows`, no more of them than so many rows need: of Parquet
    files, the beginning. Raises `StudyError` if the files cannot be had or read, and if there is no such split or
    configuration.
    """
    name = f"split {split} of {repo}"
    with TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        commit = download_data(repo, revision, PAGES, folder)
        _outline(list_data_files(repo, commit), folder)
        files = [Path(file).relative_to(folder).as_posix() for file in _list_files(folder, name, config, split)]
        if rows is None:
            download_data(repo, commit, list(map(glob.escape, files)), folder)
            tables = [read_table(folder / file, f"{Path(file).name} of {repo}") for file in files]
        else:
            tables = list(_read_first_rows(repo, commit, files, folder, rows))
    table = pd.concat(tables, ignore_index=True)
    logger.info("%s: %d rows", name, len(table))
    # A column that one of the files lacks.
    return table.astype(object).where(table.notna(), None) if len(tables) > 1 else table


def _read_first_rows(repo: str, commit: str, files: Sequence[str], folder: Path, rows: int) -> Iterator[pd.DataFrame]:
    for file in files:
        if rows <= 0:
            break
        table = _stream_rows(repo, commit, file, rows) if file.endswith(".parquet") else None
        if table is None:
            download_data(repo, commit, [glob.escape(file)], folder)
            table = read_table(folder / file, f"{Path(file).name} of {repo}")
        rows -= len(table)
        yield table


def _stream_rows(repo: str, commit: str, file: str, rows: int) -> pd.DataFrame | None:
    """Read the first rows of a Parquet file without the rest of it; None if the hub does not let parts be read.

    What is read is not compared with the file's checksum, which is of the whole.
    """
    try:
        with open_data_file(repo, commit, file) as opened:
            return read_first_rows(opened, rows)
    except (*UNREACHABLE, OSError, ValueError) as error:
        logger.info("%s of %s is read as a whole: %s", file, repo, first_line(error))
        return None


def _outline(names: Sequence[str], folder: Path) -> None:
    """Make an empty file for each of a repository's files of tables: only their names are looked at."""
    for name in names:
        if any(fnmatch(name, pattern) for pattern in TABLES):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def _list_files(folder: Path, name: str, config: str | None, split: str) -> Sequence[str]:
    """List the files of a split, as the repository's page or the files' names say.

    `datasets` knows which they are, but does not read them: in JSON, it takes the text 1929-05-01 for a time.
    """
    import datasets  # two seconds, which other tables do without

    remedy = "give `split` and `config` of a repository with Parquet, JSON or CSV files, or one of them as `file`"
    try:
        splits = datasets.load_dataset_builder(str(folder), config, cache_dir=str(folder / ".cache")).config.data_files
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise StudyError(f"{name} cannot be found ({first_line(error)}); {remedy}") from error
    if split not in splits:
        raise StudyError(f"{name} cannot be found (splits: {', '.join(splits)}); {remedy}")
    return splits[split]
