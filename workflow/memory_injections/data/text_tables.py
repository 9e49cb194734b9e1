"""CSV files as tables of text, and what counts as text."""

import warnings
from pathlib import Path

import pandas as pd

from memory_injections.errors import StudyError


def has_text(text: str) -> bool:
    """Return whether a text has a visible character."""
    return any(character.isprintable() and not character.isspace() for character in text)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file as text, with empty strings for empty cells; raise `StudyError` if it is missing or not CSV."""
    if not path.is_file():
        raise StudyError(f"file {path} does not exist; correct the path in the config")
    try:
        with warnings.catch_warnings():
            # A row with more cells than the header is an error, not a shift of columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise StudyError(f"file {path} is not a CSV table in UTF-8 ({str(error).strip()}); repair it") from error
