"""The config's JSON schema and the key table of its documentation, both made from the config's model."""

import inspect
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from memory_injections.config.study import Attribution, Study
from memory_injections.controls.settings import Controls, ControlSite
from memory_injections.data.columns import Replacement
from memory_injections.data.sources import LocalFile, UrlFile, list_data_sources
from memory_injections.mechanisms.settings import Mechanisms
from memory_injections.models.sources import list_model_sources
from memory_injections.paper.published_sources import PublishedCommit, PublishedFolder
from memory_injections.sweeps.grid import InjectionGrid

BEGIN, END = "<!-- keys: made by `make schema` -->\n", "<!-- end of keys -->\n"


def list_sections() -> dict[str, type[BaseModel]]:
    """List every part of a config by its title in the key table."""
    kinds: dict[str, Sequence[type[BaseModel]]] = {
        "models.<name>": list_model_sources(),
        "datasets.<name>": list_data_sources(),
        "published": [PublishedCommit, PublishedFolder],
        "words": [UrlFile, LocalFile],
    }
    sources = {
        f"`{key}`, source `{_name_source(source)}`": source for key, classes in kinds.items() for source in classes
    }
    grids: dict[str, type[BaseModel]] = {
        "`datasets.<name>.columns.<name>`, in place of a column's name": Replacement,
        "`injection`, or each grid in its list": InjectionGrid,
        "`attribution`": Attribution,
        "`controls`": Controls,
        "`controls.sites`, each in its list": ControlSite,
        "`mechanisms`": Mechanisms,
    }
    return {"The study": Study, **sources, **grids}


def _name_source(source: type[BaseModel]) -> str:
    return source.model_fields["source"].annotation.__args__[0]  # type: ignore[union-attr]


def write_schema() -> str:
    """Return the JSON schema of a config as text."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def write_key_table() -> str:
    """Return a Markdown table of keys for each part of the config."""
    parts = []
    for title, model in list_sections().items():
        parts += [f"\n### {title}\n\n{_read_docstring(model)}\n\n| key | default | meaning |\n| --- | --- | --- |\n"]
        # Required keys first; a class's own order otherwise.
        for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
            default = "required" if field.is_required() else _show_default(field.get_default(call_default_factory=True))
            meaning = field.description or f"`{_name_source(model)}`: where it comes from"
            parts.append(f"| `{name}` | {default} | {meaning} |\n")
    return "".join(parts)


def _read_docstring(model: type[BaseModel]) -> str:
    """Return a class's docstring on one line: from Python 3.13 on, indentation is gone from it already."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").split())


def _show_default(default: Any) -> str:
    match default:
        case None | dict():
            return "none"
        case tuple() if default and isinstance(default[0], float):
            return f"`[{', '.join(f'{value:g}' for value in default)}]`"
        case tuple() if default and isinstance(default[0], str):
            return f"`[{', '.join(default)}]`"
        case bool():
            return f"`{str(default).lower()}`"
        case str() | int():
            return f"`{default}`"
    return "see below"


def renew_key_table(readme: str) -> str:
    """Return the text of a page with its key table renewed."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + write_key_table() + "\n" + END + rest.split(END)[1]
