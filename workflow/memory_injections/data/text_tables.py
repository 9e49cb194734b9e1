"""CSV files as tables of text."""

import logging
from pathlib import Path

import pandas as pd

from memory_injections.data.text_files import iterate_rows

logger = logging.getLogger(__name__)


def read_csv(path: Path, name: str | None = None, is_own: bool = False) -> pd.DataFrame:
    """Read a CSV file as text, exactly as it is written, and say in the log how many lines became how many rows.

    Columns without a heading are left out. `name` is what messages call the file, and `is_own` tells one that a job of
    the study wrote. Raises `StudyError` for what `iterate_rows` refuses.
    """
    name = name or f"file {path}"
    lines, rows = zip(*iterate_rows(path, name, is_own), strict=True)
    logger.info("%s: %d lines became a heading and %d rows", name, lines[-1], len(rows) - 1)
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    return table.loc[:, table.columns != ""]
