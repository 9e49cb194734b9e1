"""The columns by which effects are broken down, and whether the data sets of a study have them."""

import logging
from collections.abc import Collection, Iterable, Mapping

from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# Every data set has it: where its file does not, it is what the explicit prompts ask of their entities.
RELATION = "relation"


def check_columns(columns: Mapping[str, Collection[str]], by: Iterable[str]) -> None:
    """Raise `StudyError` for a column that no data set has, and say in the log which data sets lack one.

    `columns` are those of each data set.
    """
    for column in by:
        lacking = [name for name, own in columns.items() if column not in own and column != RELATION]
        if lacking and len(lacking) == len(columns):
            had = "; ".join(f"{name} has {', '.join(own)}" for name, own in columns.items())
            raise StudyError(f"config key by: no data set has a column {column} ({had}); name another one")
        if lacking:
            logger.info("no effects by %s of %s, which have no such column", column, ", ".join(lacking))
