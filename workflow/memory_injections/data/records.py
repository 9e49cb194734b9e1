"""Records of data, from a JSON list, JSON Lines or a Parquet file."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memory_injections.data.text_files import open_unpacked
from memory_injections.errors import StudyError

# Several times the largest file of 2WikiMultiHopQA.
LARGEST = 2 * 2**30


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
