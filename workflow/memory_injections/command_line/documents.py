"""Results as JSON documents, and as files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memory_injections.atomic_files import replace_file
from memory_injections.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

SAVED = (".csv", ".parquet")


def check_place(save: Path | None) -> None:
    """Raise `StudyError` for a file name that is neither a CSV nor a Parquet table's."""
    if save and save.suffix not in SAVED:
        raise StudyError(f"--save {save} is neither .csv nor .parquet; give a file name that ends in one of them")


def save_grid(table: "pd.DataFrame", path: Path) -> None:
    """Write a table whole or not at all; raise `StudyError` if it cannot be written."""
    try:
        with replace_file(path) as temporary:
            table.to_csv(temporary, index=False) if path.suffix == ".csv" else table.to_parquet(temporary, index=False)
    except OSError as error:
        raise StudyError(f"--save {path} cannot be written ({error}); give another place") from None


def convert_rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Convert a table's rows for JSON, which has no NaN."""
    return json.loads(table.to_json(orient="records", double_precision=15))


def convert_row(row: "pd.Series") -> dict[str, Any]:
    """Convert a row for JSON."""
    return json.loads(row.to_json(double_precision=15))


def print_json(document: dict[str, Any]) -> None:
    """Print a result as one JSON document."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
