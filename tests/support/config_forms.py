"""Every key of a config and every form of its value, from the schema, and those that a config uses."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from memory_injections.config.study import Study

SCHEMA = Study.model_json_schema()
# In place of a value: all forms that it could have.
ANY = object()


def list_forms(value: Any = ANY) -> set[str]:
    """List the forms of a config, or of all configs: `mechanisms.factors`, `precision=tf32`, `models.*<local>.path`."""
    return set(_walk(SCHEMA, "", value))


def _walk(node: dict[str, Any], path: str, value: Any) -> Iterator[str]:
    node = _resolve(node)
    branches = node.get("anyOf") or node.get("oneOf")
    if branches:
        forms = [branch for branch in branches if branch != {"type": "null"}]
        for branch in forms:
            if _fits(branch, value):
                source = _find_source(_resolve(branch))
                if len(forms) > 1 and not source:
                    yield f"{path}<{_resolve(branch).get('const', _resolve(branch).get('type'))}>"
                yield from _walk(branch, f"{path}<{source}>" if source else path, value)
    elif "const" in node:
        yield f"{path}={node['const']}"
    elif "enum" in node or node.get("type") == "boolean":
        yield from (f"{path}={choice}" for choice in node.get("enum", [True, False]) if value in (ANY, choice))
    elif node.get("type") == "array":
        for item in [ANY] if value is ANY else value:
            yield from _walk(node["items"], path, item)
    elif "properties" in node:
        for key, below in node["properties"].items():
            item = ANY if value is ANY else value.get(key, _find_default(below))
            if item is not None:
                # What a model is like is a source as any.
                yield from _walk(below, "models.*" if key == "like" else f"{path}.{key}".lstrip("."), item)
    elif "additionalProperties" in node:
        for item in [ANY] if value is ANY else value.values():
            yield from _walk(node["additionalProperties"], f"{path}.*", item)
    else:
        yield path


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _find_default(node: dict[str, Any]) -> Any:
    """Return the default of a choice, which a config makes by leaving the key out."""
    return node.get("default") if "enum" in _resolve(node) else None


def _fits(node: dict[str, Any], value: Any) -> bool:
    return value is ANY or Draft202012Validator({**node, "$defs": SCHEMA["$defs"]}).is_valid(value)


def _find_source(node: dict[str, Any]) -> str | None:
    return node.get("properties", {}).get("source", {}).get("const")
