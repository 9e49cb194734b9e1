"""Results as JSON documents and as files, and files of prompts."""

import codecs
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memory_injections.atomic_files import replace_file
from memory_injections.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

# What a table and a picture can be saved as.
TABLES, PICTURES = (".csv", ".parquet"), (".png", ".pdf", ".svg")


def check_place(option: str, path: Path | None, endings: tuple[str, ...]) -> None:
    """Raise `StudyError` for a file name with none of these endings."""
    if path and path.suffix not in endings:
        raise StudyError(
            f"{option} {path} ends in none of {', '.join(endings)}; give a file name that ends in one of them"
        )


def save_table(table: "pd.DataFrame", path: Path | None, notes: "Console") -> None:
    """Write a table whole or not at all, if there is a path; raise `StudyError` if it cannot be written."""
    if path:
        write = table.to_csv if path.suffix == ".csv" else table.to_parquet
        _save("--save", path, lambda temporary: write(temporary, index=False))
        notes.print(f"{len(table)} rows are in {path}", style="dim", markup=False, highlight=False)


def save_picture(cells: "pd.DataFrame", title: str, path: Path | None, notes: "Console") -> None:
    """Draw the map of a grid into a file, if there is a path; raise `StudyError` if it cannot be written."""
    if path:
        from memory_injections.figures.maps import draw_prompt_map
        from memory_injections.figures.style import DPI, use_style

        with use_style():
            figure = draw_prompt_map(cells, title)
            _save("--plot", path, lambda temporary: figure.savefig(temporary, dpi=DPI, format=path.suffix[1:]))
        notes.print(f"the map is in {path}", style="dim", markup=False, highlight=False)


def _save(option: str, path: Path, write: Callable[[Path], None]) -> None:
    try:
        with replace_file(path) as temporary:
            write(temporary)
    except OSError as error:
        raise StudyError(f"{option} {path} cannot be written ({error}); give another place") from None


def read_pairs(path: Path) -> "pd.DataFrame":
    """Read a CSV file of prompt pairs, in a study's or the authors' columns; raise `StudyError` if it is none."""
    from memory_injections.data.prompt_pairs import normalise_pairs, strip_pairs
    from memory_injections.data.text_tables import read_csv

    if not os.path.isfile(path):  # noqa: PTH113 (pathlib's raises an error for a name that is too long)
        raise StudyError(f"--pairs {path} does not exist; give a CSV file of prompt pairs")
    return strip_pairs(normalise_pairs(read_csv(path), str(path)), str(path))


def convert_rows(rows: "pd.DataFrame | pd.Series") -> Any:
    """Convert a table's rows, or one row, for JSON, which has no NaN."""
    return json.loads(rows.to_json(orient="records" if rows.ndim == 2 else "index", double_precision=15))


def print_json(document: dict[str, Any]) -> None:
    """Print a result as one JSON document, in ASCII where the output is not UTF-8."""
    is_ascii = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    typer.echo(json.dumps(document, ensure_ascii=is_ascii, indent=2))
