"""Files of data as tables and records: CSV files as text, word lists, and JSON, JSON Lines and Parquet files."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from memory_injections.data.text_files import iterate_rows, open_unpacked
from memory_injections.errors import StudyError, UnknownWordsError
from memory_injections.terms import CURATED, column_name

logger = logging.getLogger(__name__)
# Bytes of records: several times the largest file of 2WikiMultiHopQA.
LARGEST = 2 * 2**30


def read_csv(path: Path, name: str | None = None, is_output: bool = False) -> pd.DataFrame:
    """Read a CSV file as text, exactly as it is written, and say in the log how many lines became how many rows.

    Columns without a heading are left out. `name` is what messages call the file, and `is_output` says that a job of
    the study wrote it. Raises `StudyError` for what `iterate_rows` refuses.
    """
    name = name or f"file {path}"
    lines, rows = zip(*iterate_rows(path, name, is_output), strict=True)
    logger.info("%s: %d lines became a heading and %d rows", name, lines[-1], len(rows) - 1)
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    return table.loc[:, table.columns != ""]


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read a CSV file as text, or a JSON, JSON Lines or Parquet file as values, None for missing ones.

    The content decides the format. Raises `StudyError` for what `read_csv` or `read_records` refuses.
    """
    with open_unpacked(path, name, LARGEST) as file:
        start = file.read(100).lstrip()
    if start.startswith((b"PAR1", b"[", b"{")):
        return tabulate_records(read_records(path, name))
    return read_csv(path, name)


def read_first_rows(file: IO[bytes], rows: int) -> pd.DataFrame:
    """Read the first rows of a Parquet file, and no more of it than the groups of rows that they are in."""
    opened = pq.ParquetFile(file)
    records: list[dict[str, Any]] = []
    for group in range(opened.num_row_groups):
        if len(records) < rows:
            records += opened.read_row_group(group).to_pylist()
    return tabulate_records(records[:rows])


def tabulate_records(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each record, with its values as they are, None for missing ones."""
    columns = dict.fromkeys(column for record in records for column in record)
    return pd.DataFrame({column: [record.get(column) for record in records] for column in columns}, dtype=object)


def read_words(path: Path) -> dict[str, list[str]]:
    """Read a word list: for each column, by its name in lower case, its words in order and without repeats.

    Raises `StudyError` for a column without words.
    """
    table = read_csv(path)
    words = {}
    for column in table.columns:
        texts = [text.strip() for text in table[column] if text.strip()]
        if not texts:
            raise StudyError(f"word list {path}: column {column} is empty; add words or remove the column")
        if column_name(column) in words:
            raise StudyError(f"word list {path} has two columns for {column_name(column)}; rename one of them")
        words[column_name(column)] = list(dict.fromkeys(texts))
    return words


def read_column(path: Path, name: str) -> list[str]:
    """Read the words of one column; raise `UnknownWordsError` if the list has no such column."""
    words = read_words(path)
    if name not in words:
        raise UnknownWordsError(name, [CURATED, *words])
    return words[name]


def read_records(
    path: Path, source: str, fields: Collection[str] | None = None, member: str | None = None
) -> list[Any]:
    """Read the records of a JSON list, JSON Lines or Parquet file, or of the file `member` in a zip archive.

    The content decides the format, because an address need not end in a file name. With `fields`, others are left out.
    Raises `StudyError` if it is none of them, or if `open_unpacked` refuses the file; messages call it `source`.
    """

    def keep_fields(record: dict[str, Any]) -> dict[str, Any]:
        return {field: value for field, value in record.items() if fields is None or field in fields}

    try:
        with open_unpacked(path, source, LARGEST, member) as file:
            content = file.read()
        if content.startswith(b"PAR1"):
            return pq.read_table(pa.BufferReader(content), columns=fields and list(fields)).to_pylist()
        if content[:100].lstrip().startswith(b"["):
            records = json.loads(content, object_hook=keep_fields)
        else:
            records = [json.loads(line, object_hook=keep_fields) for line in content.splitlines() if line.strip()]
    except (ValueError, pa.ArrowException) as error:
        raise StudyError(f"{source} is neither a JSON list nor JSON Lines nor Parquet ({error})") from error
    if not all(isinstance(record, dict) for record in records):
        raise StudyError(f"{source} has records that are no JSON objects; name a file with a row of columns each")
    return records
