"""Tables of results as CSV files, in which a spreadsheet takes no text for a formula.

A spreadsheet runs a text that starts with `=` or another sign of `FORMULA`. Tables of results are made for readers, so
such a text is written with an apostrophe before it. Data (prompt pairs, word lists) are written as they are.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from memory_injections.atomic_files import write_csv
from memory_injections.data.prompt_pairs import TEXT_COLUMNS
from memory_injections.sweeps.identity import ID_COLUMNS

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
TEXTS = (*ID_COLUMNS, *TEXT_COLUMNS, "says_explicit", "says_obscure", "by", "group", "scored", "rows", "checks")
TYPES = dict.fromkeys(TEXTS, str) | {"relative": "boolean"}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of results as CSV, with an apostrophe before a text that a spreadsheet would run."""
    table = table.astype(dict.fromkeys(table.select_dtypes("category"), object))
    write_csv(_map_texts(table, lambda text: f"'{text}" if FORMULA.match(text) else text), path)


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_table` has written; texts that look like numbers or like missing values stay texts."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=TYPES, float_precision="round_trip")
    if "relative" in table and table["relative"].notna().all():
        table = table.astype({"relative": bool})
    return _map_texts(table, lambda text: text[1:] if text[:1] == "'" and FORMULA.match(text) else text)


def _map_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def change_value(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    texts = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(**{name: table[name].map(change_value) for name in texts})
