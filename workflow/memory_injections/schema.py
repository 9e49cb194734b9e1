"""The config's JSON schema and the key table of config/README.md, both made from the config's model.

`python -m memory_injections.schema` writes them; a test fails when they drift.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .config import (
    Attribution,
    FileDataset,
    HuggingFaceDataset,
    HuggingFaceModel,
    InjectionGrid,
    LocalFile,
    LocalModel,
    PublishedCommit,
    PublishedFolder,
    PypiModel,
    Study,
    TwoWikiDataset,
    UrlDataset,
    UrlFile,
)

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
README = ROOT / "config" / "README.md"
BEGIN, END = "<!-- keys: made by `make schema` -->\n", "<!-- end of keys -->\n"
SECTIONS: dict[str, type[BaseModel]] = {
    "The study": Study,
    "`models.<name>`, source `pypi`": PypiModel,
    "`models.<name>`, source `huggingface`": HuggingFaceModel,
    "`models.<name>`, source `local`": LocalModel,
    "`datasets.<name>`, source `huggingface`": HuggingFaceDataset,
    "`datasets.<name>`, source `url`": UrlDataset,
    "`datasets.<name>`, source `file`": FileDataset,
    "`datasets.<name>`, source `2wikimultihop`": TwoWikiDataset,
    "`published`, source `git`": PublishedCommit,
    "`published`, source `folder`": PublishedFolder,
    "`words`, source `url`": UrlFile,
    "`words`, source `file`": LocalFile,
    "`injection`, or each grid in its list": InjectionGrid,
    "`attribution`": Attribution,
}


def schema_text() -> str:
    """The JSON schema of a config, for editors and other tools."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def key_table() -> str:
    """A Markdown table of every key for each part of the config."""
    parts = []
    for title, model in SECTIONS.items():
        parts += [f"\n### {title}\n\n{model.__doc__}\n\n| key | default | meaning |\n| --- | --- | --- |\n"]
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else _shown(field.get_default())
            meaning = field.description or f"`{_shown_source(field.annotation)}`: where it comes from"
            parts.append(f"| `{name}` | {default} | {meaning} |\n")
    return "".join(parts)


def _shown(default: Any) -> str:
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


def _shown_source(annotation: Any) -> str:
    return annotation.__args__[0]


def readme_with_keys(readme: str) -> str:
    """config/README.md with its key table renewed."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + key_table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    README.write_text(readme_with_keys(README.read_text(encoding="utf-8")), encoding="utf-8")
