"""The right answers of a prompt pair: its answer, and the aliases that its data set has."""

import json
from collections.abc import Mapping
from typing import Any

# Every process of the workflow measures answers: this module imports no library for tables.

# Other texts of the answer that are as right: a column that a data set may have, a JSON list of texts in each row.
ALIASES = "answer_aliases"


def list_answers(pair: Mapping[Any, str]) -> list[str]:
    """List the texts of a pair's answer, each once: the answer, and its aliases behind it."""
    return list(dict.fromkeys([pair["answer"], *json.loads(pair.get(ALIASES) or "[]")]))
