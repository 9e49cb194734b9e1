"""Error messages about a config: which key is wrong, how, and what is allowed."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
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

# What a part of a config can look like, where it is no mapping.
EXAMPLES = {
    "models": "`models: {gpt2: {source: huggingface, repo: openai-community/gpt2}}`",
    "models.…": "`{source: huggingface, repo: openai-community/gpt2}`",
    "datasets": "`datasets: {mine: {source: file, path: pairs.csv}}`",
    "datasets.…": "`{source: file, path: pairs.csv}`",
    "words": "`words: {source: file, path: words.csv}`",
    "published": "`published: {source: folder, path: results}`",
    "injection": "`injection: {layers: all, magnitudes: [1, 2]}`",
    "attribution": "`attribution: {top_k: 30}`",
    "controls": "`controls: {draws: 5}`",
    "mechanisms": "`mechanisms: {encodings: [unembed]}`",
}
# How alike a misspelt key and the one that it may mean are, of 1.
LEAST_ALIKE = 0.75
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


def _list_parts(node: Any, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the definitions of a JSON schema that a node refers to, directly or through others."""
    names: list[str] = []
    nodes = [node]
    for part in nodes:  # grows meanwhile
        new = [name for name in re.findall(r"#/\$defs/(\w+)", json.dumps(part)) if name not in names]
        names += dict.fromkeys(new)
        nodes += [schema["$defs"][name] for name in dict.fromkeys(new)]
    return nodes[1:]


def _suggest_key(key: str, schema: Mapping[str, Any]) -> str:
    """Return what to do about an unknown key: the known one that is spelt like it, if there is one."""
    first, name = key.split(".")[0], key.rpartition(".")[2]
    parts = _list_parts(schema["properties"].get(first), schema) if "." in key else [schema]
    known = {known for part in parts for known in part.get("properties", {})}
    close = get_close_matches(name, sorted(known - {name}), n=1, cutoff=LEAST_ALIKE)
    return f": did you mean `{close[0]}`?" if close else "; remove it or correct its spelling"


def _show_example(key: str) -> str:
    """Return an example of a mapping that a key can have."""
    above, _, last = key.rpartition(".")
    return EXAMPLES.get(key) or EXAMPLES.get(f"{above}.…") or f"`{last}: {{key: value}}`"


def describe_invalid_config(config: Mapping[str, Any], error: ValidationError, schema: Mapping[str, Any]) -> str:
    """Return one sentence for the first error: which key, what is wrong, what is allowed.

    `schema` is the JSON schema of configs, whose keys are those that a misspelt one may mean.
    """
    first = error.errors(include_url=False)[0]
    key, given, context = _find_key(config, first["loc"]), _show(first.get("input")), first.get("ctx", {})
    kind = key.rpartition(".")[2] if key.endswith((".layers", ".shuffles")) else first["type"]
    match kind:
        case "extra_forbidden":
            return f"config key {key} is unknown{_suggest_key(key, schema)} (config/README.md lists every key)"
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
            wanted = {"t": "a list", "s": "text (in quotes, if it looks like a number)"}.get(kind[0])
            wanted = wanted or f"a mapping, such as {_show_example(key)}"
            return f"config key {key} is {given}; give {wanted}"
        case "too_short":
            return f"config key {key} is empty; name at least one"
        case _:
            return f"config key {key} is {given}: {first['msg'][0].lower()}{first['msg'][1:]}"
