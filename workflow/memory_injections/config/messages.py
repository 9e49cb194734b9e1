"""Error messages about a config: which key is wrong, how, and what is allowed."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from memory_injections.errors import (
    ControlLayerError,
    LayerError,
    OverflowingInjectionError,
    StudyError,
    TooManyShardsError,
    UnknownWordsError,
)

# Characters of a wrong value in a message.
LONGEST_VALUE = 80
# The config key to correct, for errors that are found while the study runs.
KEYS: dict[type[StudyError], str] = {
    ControlLayerError: "controls.sites",
    LayerError: "injection.layers",
    OverflowingInjectionError: "injection.magnitudes",
    TooManyShardsError: "shards",
    UnknownWordsError: "injection.memories",
}


def describe_error(error: StudyError) -> str:
    """Return the error's sentence, with the config key to correct if there is one."""
    key = next((key for kind, key in KEYS.items() if isinstance(error, kind)), None)
    return f"config key {key}: {error}" if key else str(error)


def _show(value: Any) -> str:
    """Return a value as Python writes it, its end left out if it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python writes
        return "a very long number"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _find_key(config: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """Return the dotted key of a pydantic error location, without pydantic's own parts."""
    parts = [str(part)[:LONGEST_VALUE] for part in location if part != "[key]"]
    match parts:
        case ["models", name, _, "like", _, *rest] if rest:
            parts = ["models", name, "like", *rest]
        case ["datasets", name, _, "columns", ours, _, *rest]:
            parts = ["datasets", name, "columns", ours, *rest]
        case ["models" | "datasets", name, _, *rest]:
            parts = [parts[0], name, *rest]
        case ["words" | "published", _, *rest]:
            parts = [parts[0], *rest]
        case ["shards", _, *rest]:
            parts = [parts[0], *rest]
        case ["controls", _, *rest]:
            parts = ["controls", *(rest[:1] if rest[:1] == ["shuffles"] else rest)]
        case ["injection", index, *rest]:
            rest = rest[:1] if rest[:1] == ["layers"] else rest
            rest = [*rest[:1], *rest[2:]] if rest[:1] == ["magnitudes"] else rest
            parts = ["injection", *([index] if isinstance(config.get("injection"), list) else []), *rest]
    return ".".join(parts)


def describe_invalid_config(config: Mapping[str, Any], error: ValidationError) -> str:
    """Return one sentence for the first error: which key, what is wrong, what is allowed."""
    first = error.errors(include_url=False)[0]
    key, given, context = _find_key(config, first["loc"]), _show(first.get("input")), first.get("ctx", {})
    kind = key.rpartition(".")[2] if key.endswith((".layers", ".shuffles")) else first["type"]
    match kind:
        case "extra_forbidden":
            return f"config key {key} is unknown; remove it or correct its spelling (config/README.md lists every key)"
        case "missing" | "union_tag_not_found":
            missing = key if kind == "missing" else f"{key}.source"
            return f"config key {missing} is missing; add it (config/README.md describes it)"
        case "literal_error":
            return f"config key {key} is {given}; allowed: {context['expected']}"
        case "layers":
            return f"config key {key} is not valid; allowed: all, a list of layers (0 or more), or {{step: n}}"
        case "shuffles":
            return f"config key {key} is {given}; allowed: all, or a number from 1"
        case "union_tag_invalid":
            return f"config key {key}.source is {_show(context['tag'])}; allowed: {context['expected_tags']}"
        case "value_error":
            message = str(context["error"])
            return f"config key {key}: {message}" if key else f"config key {message}"
        case "tuple_type" | "dict_type" | "model_type" | "model_attributes_type" | "string_type":
            wanted = {"t": "a list", "s": "text (in quotes, if it looks like a number)"}.get(kind[0], "a mapping")
            return f"config key {key} is {given}; give {wanted}"
        case "too_short":
            return f"config key {key} is empty; name at least one"
        case _:
            return f"config key {key} is {given}: {first['msg'][0].lower()}{first['msg'][1:]}"
