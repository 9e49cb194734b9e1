"""Word lists: a column for each kind of random memory."""

from pathlib import Path

from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError, UnknownWordsError
from memory_injections.terms import CURATED, column_name


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
