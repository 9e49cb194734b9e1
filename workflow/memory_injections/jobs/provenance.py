"""What results are made of: the parameters of a job and the contents of its inputs.

A job writes it beside each of its results, with their checksums (`checksums.write_checksum`). A run compares it with
what the study asks for now, so that a result is known by what it carries, wherever it was made.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from memory_injections.checksums import ENDING, locate_checksum

# The inputs of a job by their names in its rule; those without a name are under an empty one.
Inputs = Mapping[str, list[Path]]
# Longer values are not shown where two differ.
SHOWN_CHARACTERS = 60


def name_inputs(items: Iterable[tuple[str | None, str | Iterable[str]]]) -> dict[str, list[Path]]:
    """Group pairs of a name, or none, and one or more paths by the name."""
    inputs: dict[str, list[Path]] = {}
    for name, paths in items:
        inputs.setdefault(name or "", []).extend(map(Path, [paths] if isinstance(paths, str) else paths))
    return inputs


def describe_origin(params: Mapping[str, Any], inputs: Inputs, checksums: Mapping[Path, str]) -> dict[str, Any]:
    """Return what results are made of as plain values: `params`, and `inputs` by name, path and checksum."""
    return {
        "params": json.loads(to_json(dict(params), fallback=str)),
        "inputs": {
            name: {str(path): checksums.get(path) for path in paths if is_compared(path)}
            for name, paths in inputs.items()
        },
    }


def list_compared_files(inputs: Inputs) -> list[Path]:
    """List the inputs whose contents count."""
    return [path for paths in inputs.values() for path in paths if is_compared(path)]


def is_compared(path: Path) -> bool:
    """Return whether the contents of an input count: a folder's only if it has a checksum of its own.

    A manifest, which is an input too, stands for a folder without one.
    """
    return not path.is_dir() or has_checksum(path)


def has_checksum(path: Path) -> bool:
    """Return whether a checksum stands beside a file or folder."""
    return locate_checksum(path).is_file()


def carries_origin(path: Path) -> bool:
    """Return whether the job of a result writes what it is made of beside it.

    Notebooks are there to be edited, and a model's folder is described by its manifest.
    """
    return path.suffix not in (ENDING, ".ipynb") and (not path.is_dir() or has_checksum(path))


def compare_origins(made: Mapping[str, Any], wanted: Mapping[str, Any], ignored: Collection[str]) -> list[str]:
    """List in words how what a result was made of differs from what is wanted.

    Inputs are compared by name, order and contents, not by path; those with an `ignored` name are not compared.
    """
    if not made:
        return ["nothing says what it was made of"]
    return [
        *_compare_params(made.get("params", {}), wanted["params"]),
        *(
            f"contents of {name or 'the input'}"
            for name in sorted(made.get("inputs", {}).keys() | wanted["inputs"].keys())
            if name not in ignored and _list_contents(made, name) != _list_contents(wanted, name)
        ),
    ]


def _compare_params(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterable[str]:
    for name in sorted(made.keys() | wanted.keys()):
        old, new = made.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from (f"{name}.{change}" for change in _compare_params(old, new))
        elif old != new:
            change = f"{name} {old} -> {new}"
            yield change if len(change) <= SHOWN_CHARACTERS else name


def _list_contents(origin: Mapping[str, Any], name: str) -> list[str]:
    return list(origin.get("inputs", {}).get(name, {}).values())
