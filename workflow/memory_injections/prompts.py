"""Prompt pairs and word lists: read from any source, brought to one form, and checked.

A prompt pair is an explicit prompt that names an entity, an obscure prompt that describes it, the entity (the
memory) and the answer that both ask for (paper, section 3.1).
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from .checks import check_column
from .config import column_name
from .errors import StudyError
from .text import has_text

AUTHORS_NAMES = {
    "explicit_sentence": "explicit_prompt",
    "explicit_sent": "explicit_prompt",
    "obscure_sentence": "obscure_prompt",
    "obscure_sent": "obscure_prompt",
    "explicit_entity": "memory",
}
TEXT_COLUMNS = ["explicit_prompt", "obscure_prompt", "memory", "answer"]


PAIRS = pa.DataFrameSchema(
    {
        "prompt_id": pa.Column("int64", pa.Check.ge(0), unique=True),
        **{name: pa.Column(str, pa.Check(has_text, element_wise=True)) for name in TEXT_COLUMNS},
    },
    strict=True,
)


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file as text, empty cells as empty strings; raises `StudyError` if it is not there or no CSV."""
    if not path.is_file():
        raise StudyError(f"file {path} does not exist; correct the path in the config")
    try:
        with warnings.catch_warnings():
            # A row with more cells than the header is an error, not a shift of columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise StudyError(f"file {path} is not a CSV table in UTF-8 ({str(error).strip()}); repair it") from error


def normalise_pairs(table: pd.DataFrame, source: str, rows: int | None = None) -> pd.DataFrame:
    """The checked table of prompt pairs, with `prompt_id` (row of the source, from 0) and `TEXT_COLUMNS`.

    Text is kept as it stands, spaces included, because tokens depend on them. Reads the authors' column names
    too. Raises `StudyError` for a missing column, an empty cell or an empty table; `source` names the file.
    """
    table = table.rename(columns={old: new for old, new in AUTHORS_NAMES.items() if new not in table.columns})
    missing = [name for name in TEXT_COLUMNS if name not in table.columns]
    if missing:
        raise StudyError(
            f"{source} has no column {', '.join(missing)} (it has {', '.join(map(str, table.columns))}); "
            "name the columns as config/README.md says"
        )
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise StudyError(f"{source} has two columns for {twice[0]}; remove one of them")
    if table.empty:
        raise StudyError(f"{source} has no rows; give at least one prompt pair")
    table = table[TEXT_COLUMNS].head(rows)
    table.insert(0, "prompt_id", range(len(table)))
    try:
        return PAIRS.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        where = f"row {first['index']} (counted from 0)" if pd.notna(first["index"]) else "every row"
        raise StudyError(f"{source}: column {first['column']} is empty in {where}; fill it in") from error


def read_words(path: Path) -> dict[str, list[str]]:
    """A word list: each column's words, in order and without repeats, under its name in lower case.

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


def words_of_column(path: Path, name: str) -> list[str]:
    """The words of one column; raises `StudyError` if the list has no such column."""
    words = read_words(path)
    check_column(name, list(words))
    return words[name]


def read_pairs(path: Path) -> pd.DataFrame:
    """A table of prompt pairs that `normalise_pairs` made and a job wrote."""
    return read_csv(path).astype({"prompt_id": "int64"})


def iterate_pairs(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """The same table, so many rows at a time."""
    with pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=rows) as chunks:
        for chunk in chunks:
            yield chunk.astype({"prompt_id": "int64"}).reset_index(drop=True)
