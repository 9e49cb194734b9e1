"""Tables of prompt pairs in the study's form, checked.

A prompt pair is an explicit prompt that names an entity, an obscure prompt that describes it, the entity (the
memory) and the answer that both ask for (paper, section 3.1).
"""

import ast
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from memory_injections.data.answers import ALIASES
from memory_injections.data.characters import has_text, strip_end, strip_ends
from memory_injections.data.text_files import iterate_rows
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)

AUTHORS_NAMES = {
    "explicit_sentence": "explicit_prompt",
    "explicit_sent": "explicit_prompt",
    "obscure_sentence": "obscure_prompt",
    "obscure_sent": "obscure_prompt",
    "explicit_entity": "memory",
}
TEXT_COLUMNS = ["explicit_prompt", "obscure_prompt", "memory", "answer"]
# The entity that the obscure prompt names to describe the memory: a column that a data set may have, texts it may lack.
ENTITY = "entity"
# What asks for the memory, such as "The author of Das Kapital is": a column that a data set may have, texts may lack.
FIRST_HOP = "first_hop_prompt"
# The first fact of a pair in the authors' file of 2WikiMultiHopQA, whose subject is that entity.
AUTHORS_FACT = "fact1"
# The column that says which other one names the clusters, where the config does.
CLUSTERED_BY = "clustered_by"
# What takes the invisible characters off each kind of text where it meets another: off the end of a prompt.
STRIPPERS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("explicit_prompt", "obscure_prompt", FIRST_HOP), strip_end),
    **dict.fromkeys(("memory", "answer", ENTITY), strip_ends),
    ALIASES: lambda names: json.dumps([strip_ends(name) for name in json.loads(names)], ensure_ascii=False),
}
# The column that names the texts of a pair that were stripped.
STRIPPED = "stripped"
# Columns that the study adds; a data set's own of these names are left out.
ADDED_COLUMNS = ("prompt_id", "dataset", CLUSTERED_BY, STRIPPED)


def normalise_pairs(
    table: pd.DataFrame, source: str, rows: int | None = None, cluster: str | None = None, skip: bool = False
) -> pd.DataFrame:
    """Bring a table of prompt pairs into the columns `prompt_id` (row of the source, from 0) and `TEXT_COLUMNS`.

    The table's index has the rows' numbers. Text is kept as it stands, spaces included: `strip_pairs` takes them off
    its ends. Reads the authors' column names too. A column `ENTITY` is made from the authors' facts where they are, and
    lists of `ALIASES`, in Python's or in JSON's syntax, become one list in JSON, whatever lists are in them; other
    columns are kept behind these. With `cluster`, the name of a column, `CLUSTERED_BY` says it in every row. `rows` is
    the number of pairs to use, from the first on. Raises `StudyError` for a missing column, an empty cell (with `skip`,
    its row is left out), aliases that are no list of texts, or an empty table; `source` names the file.
    """
    if cluster in ADDED_COLUMNS:
        raise StudyError(f"{source}: {cluster} is a column of the study's own and cannot be the cluster; name another")
    table = table.rename(columns={old: new for old, new in AUTHORS_NAMES.items() if new not in table.columns})
    missing = [name for name in (*TEXT_COLUMNS, *([cluster] if cluster else [])) if name not in table.columns]
    if missing:
        raise StudyError(
            f"{source} has no column {', '.join(missing)} (it has {', '.join(map(str, table.columns))}); "
            "name the columns as config/README.md says"
        )
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise StudyError(f"{source} has two columns for {twice[0]}; remove one of them")
    if not table.index.is_unique:
        raise StudyError(f"{source} has two rows of one number; reset the table's index")
    needed = [*TEXT_COLUMNS, *([cluster] if cluster else [])]
    kept = table[table[needed].map(_has_text).all(axis=1)] if skip else table
    if kept.empty:
        raise StudyError(f"{source} has no rows; give at least one prompt pair")
    if len(kept) < len(table):
        logger.warning("%s: left out %d rows without all of %s", source, len(table) - len(kept), ", ".join(needed))
        table = kept
    if ENTITY not in table and AUTHORS_FACT in table:
        table = table.assign(**{ENTITY: table[AUTHORS_FACT].map(_read_subject)})
    others = [name for name in table.columns if name not in (*TEXT_COLUMNS, *ADDED_COLUMNS)]
    pairs = table[[*TEXT_COLUMNS, *others]].head(rows)
    logger.info("%s: %d rows became %d prompt pairs", source, len(table), len(pairs))
    pairs = pairs.rename_axis("prompt_id").reset_index()
    _check_texts(pairs, source, needed)
    if ALIASES in pairs:
        aliases = [
            _read_aliases(cell, source, row) for row, cell in zip(pairs["prompt_id"], pairs[ALIASES], strict=True)
        ]
        pairs = pairs.assign(**{ALIASES: [json.dumps(names, ensure_ascii=False) for names in aliases]})
    return pairs.assign(**{CLUSTERED_BY: cluster}) if cluster else pairs


def strip_pairs(pairs: pd.DataFrame, source: str) -> pd.DataFrame:
    """Take blanks and other invisible characters off the ends of texts: the end of a prompt, both ends of the others.

    A tokenizer makes other tokens of them, so that the answer's probability would depend on what nobody sees. The
    column `STRIPPED` names each pair's changed texts; a warning says how many there are.
    """
    stripped = pairs.assign(**{name: pairs[name].map(strip) for name, strip in STRIPPERS.items() if name in pairs})
    changed = stripped != pairs
    if changed.to_numpy().any():
        rows = pairs.loc[changed.any(axis=1), "prompt_id"]
        logger.warning(
            "%s: invisible characters at the ends of %d texts were left out, in %s; `blanks: keep` of a data set keeps "
            "them", source, changed.to_numpy().sum(), name_pairs(rows.tolist()),
        )  # fmt: skip
    return stripped.assign(**{STRIPPED: changed.apply(lambda row: ", ".join(changed.columns[row.to_numpy()]), axis=1)})


def name_pairs(prompt_ids: Sequence[int], most: int = 5) -> str:
    """Name prompt pairs in a sentence: the first ones by their ids, and how many more there are."""
    shown = [str(prompt_id) for prompt_id in prompt_ids[:most]]
    if len(prompt_ids) == 1:
        return f"prompt pair {shown[0]}"
    if len(prompt_ids) > most:
        return f"prompt pairs {', '.join(shown)} and {len(prompt_ids) - most} more"
    return f"prompt pairs {', '.join(shown[:-1])} and {shown[-1]}"


def _check_texts(pairs: pd.DataFrame, source: str, columns: Iterable[str]) -> None:
    for name in columns:
        for row, text in zip(pairs["prompt_id"], pairs[name], strict=True):
            if not _has_text(text):
                raise StudyError(
                    f"{source}: column {name} is empty in row {row} (counted from 0); fill it "
                    "in, or leave such rows out with `incomplete: skip`"
                )


def _has_text(cell: Any) -> bool:
    return isinstance(cell, str) and has_text(cell)


def _read_aliases(cell: str, source: str, row: int) -> list[str]:
    """Return the texts of a list in JSON's or Python's syntax, and of the lists in it, each once.

    Those without content are left out; an empty cell has none.
    """
    names: Any = None if cell.strip() else []
    for read in (json.loads, ast.literal_eval) if cell.strip() else ():
        with suppress(ValueError, SyntaxError):
            names = read(cell)
            break
    names = list(_flatten(names)) if isinstance(names, list | tuple) else [None]
    if not all(isinstance(name, str) for name in names):
        raise StudyError(
            f"{source}: column {ALIASES} is no list of texts in row {row} (counted from 0): {cell[:80]!r}; write it as "
            '["United States", "USA"], or leave it empty'
        )
    return list(dict.fromkeys(name for name in names if has_text(name)))


def _flatten(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from _flatten(value) if isinstance(value, list | tuple) else [value]


def _read_subject(fact: str) -> str:
    """Return the subject of a fact in the authors' file, a list in Python's syntax; nothing for anything else."""
    try:
        return str(ast.literal_eval(fact)[0])
    except (ValueError, SyntaxError, LookupError, TypeError):
        return ""


def read_pairs(path: Path) -> pd.DataFrame:
    """Read a data set's prompt pairs as a job wrote them, with the name of the data set in column `dataset`."""
    return read_csv(path, is_output=True).astype({"prompt_id": "int64"})


def index_pairs(tables: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Read tables of prompt pairs, by the name of their data set."""
    pairs = map(read_pairs, tables)
    return {str(table["dataset"].iloc[0]): table for table in pairs}


def iterate_pairs(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Read the same table as `read_pairs`, in chunks of `rows` rows."""
    cells = (cells for _, cells in iterate_rows(path, f"file {path}", is_output=True))
    heading = next(cells)
    while chunk := list(islice(cells, rows)):
        yield pd.DataFrame(chunk, columns=heading, dtype=str).astype({"prompt_id": "int64"})
