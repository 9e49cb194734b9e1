"""The study's vocabulary, and the types of a config's values."""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

Precision = Literal["float32", "tf32", "bfloat16"]
Encoding = Literal["unembed", "embed", "layer"]
# What the encoding of a sweep ends in whose magnitudes are doses relative to the residual stream.
RELATIVE = "_relative"
ENCODINGS = (*get_args(Encoding), *(encoding + RELATIVE for encoding in get_args(Encoding)))
# The memory that belongs to the prompt. Every other kind of memory is a column of the word list.
CURATED = "curated"
PROMPT_KINDS = ("explicit", "obscure")
# The kinds of text that a model reads, and the columns of a table of prompt pairs that have them.
KIND_COLUMNS = {**{kind: f"{kind}_prompt" for kind in PROMPT_KINDS}, "memory": "memory"}


def check_path_part(name: str) -> str:
    """Return the name; raise `ValueError` if it cannot be part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"the name {name!r} becomes part of paths; use letters, digits, `.`, `_` and `-` only")
    return name


def column_name(heading: str) -> str:
    """Turn a heading of the word list into a name for paths: `Top 5000 Words` becomes `top_5000_words`."""
    return re.sub(r"\W+", "_", heading.strip().lower()).strip("_")


def _find_path(path: str, info: ValidationInfo) -> str:
    root = (info.context or {}).get("root")
    if root is not None and not Path(path).exists() and (Path(root) / path).exists():
        return str(Path(root) / path)
    return path


Name = Annotated[str, AfterValidator(check_path_part)]
MemoryKind = Annotated[str, Field(min_length=1), AfterValidator(column_name)]
# A path, relative to where the workflow runs or, if nothing is there, to the workflow's own folder (`root` in the
# validation context).
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(_find_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A part of a config. Unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
