"""Columns of our names, made of the columns and fields of someone else's table."""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from memory_injections.errors import StudyError
from memory_injections.terms import Section

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
# A column's or field's name in braces. Empty braces are text, as they are in many data sets' own templates.
NAME = re.compile(r"\{([^{}]+)\}")


def _check_braces(text: str) -> str:
    if re.search(r"[{}]", NAME.sub("", text).replace("{}", "")):
        raise ValueError(f"{text!r} has a brace without its partner; write a column as {{its name}}")
    return text


# The name of a column or field, or text with names in braces.
Template = Annotated[str, Field(min_length=1), AfterValidator(_check_braces)]


class Replacement(Section):
    """A text of the data in which other text is put in place of some of its own."""

    text: Template = Field(description="the name of a column, or text with names of columns in braces")
    replace: dict[Template, Template] = Field(
        min_length=1,
        description="what is replaced, each time that it stands there as whole words, and what by; names of columns "
        "in braces stand for their texts",
    )


# The tag lets a wrong key of the mapping be named.
ColumnSource = Annotated[
    Annotated[Template, Tag("text")] | Annotated[Replacement, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, Mapping | Replacement) else "text"),
]


def is_text(value: Any) -> bool:
    """Whether a value can stand in a table of texts: text, a whole number, or nothing."""
    return value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def map_columns(
    table: "pd.DataFrame", columns: Mapping[str, str | Replacement], lists: str, source: str, skip: bool
) -> "pd.DataFrame":
    """Return the table with columns of our names, in place of those that they rename.

    A cell that is made of several texts is empty if one of them is. `lists` is the one name of ours whose values may
    be lists. Raises `StudyError` for a column or field that `source` does not have, for one that holds no text and,
    unless rows may be skipped, for a text that does not have what is replaced in it.
    """
    made = {}
    for ours, wanted in columns.items():
        if ours == lists and isinstance(wanted, str) and not NAME.search(wanted):
            made[ours] = _find_values(table, wanted, source)
        elif isinstance(wanted, str):
            made[ours] = _fill(table, wanted, source)
        else:
            made[ours] = _replace(table, wanted, source, f"columns.{ours}", skip)
    renamed = [wanted for wanted in columns.values() if isinstance(wanted, str) and wanted in table.columns]
    return table.drop(columns=[*renamed, *made], errors="ignore").assign(**made)


def write_texts(table: "pd.DataFrame", lists: str, source: str) -> "pd.DataFrame":
    """Return the columns that hold text or whole numbers as text, empty for what is missing.

    Lists in the column `lists` become JSON. The other columns are left out, and named in the log.
    """
    if lists in table:
        written = [json.dumps(value, ensure_ascii=False) if _is_list(value) else value for value in table[lists]]
        table = table.assign(**{lists: written})
    texts = [name for name in table.columns if all(map(is_text, table[name]))]
    if len(texts) < len(table.columns):
        others = ", ".join(str(name) for name in table.columns if name not in texts)
        logger.info("%s: columns that are no text, left out: %s", source, others)
    return table[texts].map(_write)


def count_entries(table: "pd.DataFrame", name: str, source: str) -> list[int]:
    """Count the entries of the list in a column or field, row by row; raise `StudyError` if it holds anything else."""
    values = [[] if value is None else value for value in _find_values(table, name, source)]
    if not all(map(_is_list, values)):
        raise StudyError(f"{source} has no lists in {name}; correct `lengths`")
    return [len(value) for value in values]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _write(value: Any) -> str:
    return "" if value is None else str(value)


def _find_values(table: "pd.DataFrame", name: str, source: str) -> list[Any]:
    """Return the values of a column, or of a field of the records and lists in one: `hops.0.answer`."""
    if name in table.columns:
        return table[name].tolist()
    parents = [column for column in table.columns if name.startswith(f"{column}.")]
    for column in sorted(parents, key=len, reverse=True):
        path = name.removeprefix(f"{column}.").split(".")
        values = [_find_field(value, path) for value in table[column]]
        if not values or any(value is not None for value in values):
            return values
    raise _lacks_text(table, name, source)


def _lacks_text(table: "pd.DataFrame", name: str, source: str) -> StudyError:
    return StudyError(f"{source} has no text in a column {name} (but in {', '.join(table.columns)}); correct `columns`")


def _find_field(value: Any, path: Iterable[str]) -> Any:
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif _is_list(value) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _find_texts(table: "pd.DataFrame", name: str, source: str) -> list[str]:
    values = _find_values(table, name, source)
    if not all(map(is_text, values)):
        raise _lacks_text(table, name, source)
    return list(map(_write, values))


def _fill(table: "pd.DataFrame", template: str, source: str) -> list[str]:
    """Return the texts of a column or, if the template has braces, the template with texts in place of names."""
    names = NAME.findall(template)
    if not names:
        return _find_texts(table, template, source)
    return _join(template, {name: _find_texts(table, name, source) for name in names}, len(table))


def _join(template: str, texts: Mapping[str, Sequence[str]], n_rows: int) -> list[str]:
    rows = ({name: of_name[row] for name, of_name in texts.items()} for row in range(n_rows))
    return [NAME.sub(lambda found: row[found[1]], template) if all(row.values()) else "" for row in rows]  # noqa: B023


def _replace(table: "pd.DataFrame", wanted: Replacement, source: str, key: str, skip: bool) -> list[str]:
    def fill(template: str) -> list[str]:
        return _fill(table, template, source) if NAME.search(template) else [template] * len(table)

    texts = _fill(table, wanted.text, source)
    pairs = [(fill(old), fill(new)) for old, new in wanted.replace.items()]
    replaced = []
    for row, text in enumerate(texts):
        by = {old[row]: new[row] for old, new in pairs}
        is_whole = bool(text) and all(by) and all(by.values())
        made = _replace_words(text, by) if is_whole else ""
        if made is None:
            if not skip:
                raise StudyError(
                    f"{source}: the text of {key} in row {table.index[row]} (counted from 0) does not have all of "
                    f"{', '.join(map(repr, by))} to replace ({text[:80]!r}); correct `replace`, or leave such rows out "
                    "with `incomplete: skip`"
                )
            made = ""
        replaced.append(made)
    return replaced


def _replace_words(text: str, by: Mapping[str, str]) -> str | None:
    """Return the text with replacements, in capitals where it begins so; None if one has nothing to replace."""
    found: set[str] = set()

    def note(match: re.Match[str]) -> str:
        found.add(match[0])
        return by[match[0]]

    made = re.sub("|".join(map(_match_words, sorted(by, key=len, reverse=True))), note, text)
    if found != set(by):
        return None
    return made[0].upper() + made[1:] if text[0].isupper() else made


def _match_words(text: str) -> str:
    before, after = (r"\b" if re.match(r"\w", end) else "" for end in (text[0], text[-1]))
    return f"{before}{re.escape(text)}{after}"
