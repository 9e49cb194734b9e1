"""What is known without asking anyone: sizes of models and data sets, and machines."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from yaml import safe_load

_FILE = files("memory_injections.planning") / "known.yaml"


@cache
def read_known() -> dict[str, Any]:
    """The known `models`, `datasets` and `machines`, each by its name."""
    return safe_load(_FILE.read_text(encoding="utf-8"))


def locate_known() -> str:
    """Where the file lies that `read_known` reads, from the current folder if it lies below."""
    path = Path(str(_FILE))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
