"""Reading a config file strictly: UTF-8, YAML or JSON, no key twice."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from memory_injections.errors import StudyError


def read_config(path: Path) -> dict[str, Any]:
    """Read a config file; raise `StudyError` if it cannot be read, is no mapping, or gives a key twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"config {path} is not text in UTF-8 ({error}); save it as UTF-8") from None
    except OSError as error:
        raise StudyError(f"config {path} cannot be read ({error.strerror}); correct the path") from None
    try:
        config = _parse(text)
    except _RepeatedKeyError as error:
        raise StudyError(f"config {path} gives the key {error} twice; remove one of them") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StudyError(f"config {path} is neither YAML nor JSON ({_explain(error)}); correct it") from None
    if not isinstance(config, dict):
        raise StudyError(f"config {path} is no mapping of keys; config/README.md describes every key")
    return config


def _parse(text: str) -> Any:
    """Parse JSON, or else YAML, as Snakemake does; raise `_RepeatedKeyError` for a key that a mapping has twice."""
    try:
        return json.loads(text, object_pairs_hook=_make_object)
    except json.JSONDecodeError:
        return yaml.load(text, Loader=_StrictLoader)


def _explain(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


class _RepeatedKeyError(Exception):
    """A key that a mapping has twice; the message names it and, where it is known, its place."""


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = {}
    for key, value in pairs:
        if key in made:
            raise _RepeatedKeyError(repr(key))
        made[key] = value
    return made


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses repeated keys, of which others silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping; raise `_RepeatedKeyError` for a key that it has twice."""
        written = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, Hashable):
                if key in written:
                    raise _RepeatedKeyError(f"{key!r} (line {key_node.start_mark.line + 1})")
                written.add(key)
        return super().construct_mapping(node, deep)
