"""The study's vocabulary, and the types of a config's values."""

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema, to_jsonable_python

Precision = Literal["float32", "tf32", "bfloat16"]
# The prompts that a verdict is about, and what a prompt can be left out for (`analysis.population`).
Population = Literal["all", "both_hops_known", "composition_missed"]
Shortcut = Literal["words", "without_entity", "without_relation"]
# The encoding of the paper's injections, whose magnitudes are factors.
PAPER_ENCODING = "unembed"
# The least log-probability that float32 can express, in place of -inf for an answer with probability zero.
LEAST_LOGP = -149 * math.log(2)
# Stands for the encoding where the site is chosen among the sites of all encodings.
ANY_ENCODING = "any"
# What an encoding ends in, in the path of a sweep whose magnitudes are doses relative to the residual stream.
RELATIVE = "_relative"
# What the name of a model's untrained twin ends in.
TWIN = "-untrained"
# The memory that belongs to the prompt. Every other kind of memory is a column of the word list.
CURATED = "curated"
# Another prompt's memory in its place.
SHUFFLED = "shuffled"
# Where a memory is added when the whole answer is scored behind the prompt: at the prompt's positions only, or at the
# answer's, too.
AnswerPositions = Literal["prompt", "all"]
# What an injection is judged by: the probability of the answer's first token, that of all its tokens, or the answer
# that the model writes.
FIRST_TOKEN: Final = "first_token"
WHOLE_ANSWER: Final = "whole_answer"
GENERATION: Final = "generation"
Outcome = Literal["first_token", "whole_answer", "generation"]
# Effects within so many nats of zero do not matter in practice, unless a config says otherwise.
MARGIN = 0.1
PROMPT_KINDS = ("explicit", "obscure")
# What is looked for in the outputs of heads and blocks, by its first token, and what figures call it: the memory with a
# space in front, as a text has it, and without, as it is injected. In most tokenizers these are two tokens.
TARGETS = {"answer": "answer", "memory": "memory", "injected": "memory as injected"}
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


def is_commit(revision: str) -> bool:
    """Return whether a revision is the full hash of a commit, which names the same contents for ever."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _check_column_name(name: str) -> str:
    if not name:
        raise ValueError("no letter or digit is in it; name a column of the word list")
    return name


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers; give a number")
    return value


def expand_home(path: str) -> str:
    """Replace a `~` at the start of a path by the home folder, if there is one."""
    return os.path.expanduser(path)  # noqa: PTH111 (pathlib's raises an error where there is none)


def _find_path(path: str, info: ValidationInfo) -> str:
    path = expand_home(path)
    if re.search(r"[{}]", path):
        raise ValueError(f"the path {path!r} has braces, which are wildcards to Snakemake; rename the file or folder")
    root, (folder, *rest) = (info.context or {}).get("root"), Path(path).parts or (".",)
    try:
        is_missing = not Path(path).exists()
        if is_missing and root is not None and rest and not Path(folder).exists() and (Path(root) / path).exists():
            return str(Path(root) / path)
    except OSError as error:
        raise ValueError(f"a path of {len(path):,} characters cannot be read ({error.strerror}); correct it") from None
    return path


# Numbers fit into 64 bits, and the names that make up a file name into 255 characters together.
LARGEST_NUMBER = 2**63 - 1
LONGEST_NAME = 60
Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(check_path_part)]
MemoryKind = Annotated[
    str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(column_name), AfterValidator(_check_column_name)
]
Count = Annotated[int, Field(ge=1, le=LARGEST_NUMBER), BeforeValidator(_refuse_boolean)]
Index = Annotated[int, Field(ge=0, le=LARGEST_NUMBER), BeforeValidator(_refuse_boolean)]
Number = Annotated[float, BeforeValidator(_refuse_boolean)]
# A path, relative to where the workflow runs or, if the folder that it begins with is not there, to the workflow's own
# folder (`root` in the validation context); `~` is the home folder.
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(_find_path)]
WHERE = "relative to where Snakemake runs or, if the folder that it begins with is not there, to the workflow"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GitRepository = Annotated[str, Field(pattern=r"^(https?://.+|[^:-][^:]*)$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


def unite(sources: Iterable[type[BaseModel]]) -> Any:
    """Return the type of a value that is of one of several classes, which its key `source` tells apart."""
    return Annotated[Union[tuple(sources)], Discriminator("source")]  # noqa: UP007


@dataclass(frozen=True)
class Late:
    """In an annotation: values have a type that is made when one is checked, not when this is imported.

    So it has what installed packages add, whatever they import themselves.
    """

    make: Callable[[], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: _adapt(self.make()).validate_python(value, context=info.context)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(_adapt(self.make()).core_schema)


@cache
def _adapt(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def make_default(make: Callable[[], Any], description: str) -> Any:
    """Return a field whose default is made when it is asked for, and stands in the JSON schema."""
    return Field(
        default_factory=make,
        description=description,
        json_schema_extra=lambda schema: schema.update(default=to_jsonable_python(make())),
    )


class Section(BaseModel):
    """A part of a config. Unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
