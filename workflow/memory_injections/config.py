"""What a study's config may say, with defaults; `workflow/schemas/config.schema.json` is made from it."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import StudyError
from .precision import Precision


def _path_safe(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"the name {name!r} becomes part of paths; use letters, digits, `.`, `_` and `-` only")
    return name


def column_name(heading: str) -> str:
    """`Top 5000 Words` -> `top_5000_words`, the form in which a column of the word list becomes part of paths."""
    return re.sub(r"\W+", "_", heading.strip().lower()).strip("_")


Name = Annotated[str, AfterValidator(_path_safe)]
MemoryKind = Annotated[str, Field(min_length=1), AfterValidator(column_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Encoding = Literal["unembed", "embed", "layer"]
CURATED = "curated"
Shards = Annotated[int, Field(ge=1)]
PROMPT_KINDS = ("explicit", "obscure")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PypiModel(_Section):
    """A GGUF file inside a wheel on the Python Package Index."""

    source: Literal["pypi"]
    package: str = Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+$", description="`name==version` of the wheel")
    file: str = Field(pattern=r"\.gguf$", description="path of the GGUF file inside the wheel")
    sha256: Sha256 = Field(description="checksum of that file")


class HuggingFaceModel(_Section):
    """A model repository on the Hugging Face hub."""

    source: Literal["huggingface"]
    repo: str = Field(min_length=1, description="`owner/name` on the hub")
    revision: str = Field(default="main", description="branch, tag or commit; the manifest records the commit")


class LocalModel(_Section):
    """A folder in Hugging Face format."""

    source: Literal["local"]
    path: str = Field(min_length=1, description="the folder, absolute or from where Snakemake runs")


class _Dataset(_Section):
    rows: int | None = Field(default=None, ge=1, description="use the first so many rows only; all by default")


class HuggingFaceDataset(_Dataset):
    """A CSV file of a data set repository on the Hugging Face hub."""

    source: Literal["huggingface"]
    repo: str = Field(min_length=1, description="`owner/name` on the hub")
    file: str = Field(min_length=1, description="the CSV file in the repository")
    revision: str = Field(default="main", description="branch, tag or commit")


class UrlFile(_Section):
    """A CSV file at an address, pinned by its checksum."""

    source: Literal["url"]
    url: str = Field(pattern=r"^https?://", description="address of the CSV file")
    sha256: Sha256 = Field(description="checksum of the file")


class UrlDataset(_Dataset, UrlFile):
    """A CSV file at an address, pinned by its checksum."""


class LocalFile(_Section):
    """A CSV file on this machine."""

    source: Literal["file"]
    path: str = Field(min_length=1, description="the CSV file, absolute or from where Snakemake runs")


class FileDataset(_Dataset, LocalFile):
    """A CSV file on this machine."""


class TwoWikiDataset(_Section):
    """Prompt pairs made from 2WikiMultiHopQA's records: a JSON list, JSON Lines or Parquet file, or one in a zip."""

    source: Literal["2wikimultihop"]
    path: str | None = Field(default=None, min_length=1, description="the file, on this machine")
    url: str | None = Field(default=None, pattern=r"^https?://", description="or its address")
    sha256: Sha256 | None = Field(default=None, description="with `url`: checksum of the file")
    member: str | None = Field(default=None, min_length=1, description="if the file is a zip archive: the file in it")
    size: int = Field(ge=1, description="how many prompt pairs to draw")
    seed: int = Field(default=0, ge=0, description="which ones; a smaller sample is the beginning of a larger one")

    @model_validator(mode="after")
    def _one_place(self) -> "TwoWikiDataset":
        places = [name for name in ("path", "url", "sha256") if getattr(self, name) is not None]
        if places not in (["path"], ["url", "sha256"]):
            raise ValueError("give `path`, or `url` with `sha256`")
        return self


class PublishedCommit(_Section):
    """The authors' published results, from a commit of their repository."""

    source: Literal["git"]
    repo: str = Field(min_length=1, description="address of the git repository")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", description="full hash of the commit")


class PublishedFolder(_Section):
    """The authors' published results, from a copy of their repository on this machine."""

    source: Literal["folder"]
    path: str = Field(min_length=1, description="the root of the copy, absolute or from where Snakemake runs")


Model = Annotated[PypiModel | HuggingFaceModel | LocalModel, Field(discriminator="source")]
Dataset = Annotated[HuggingFaceDataset | UrlDataset | FileDataset | TwoWikiDataset, Field(discriminator="source")]
Published = Annotated[PublishedCommit | PublishedFolder, Field(discriminator="source")]
Words = Annotated[UrlFile | LocalFile, Field(discriminator="source")]


class LayerStep(_Section):
    """Every so many layers, from layer 0."""

    step: int = Field(ge=1)


class InjectionGrid(_Section):
    """A grid of injections: every memory kind x encoding x layer x magnitude, for every prompt pair."""

    memories: tuple[MemoryKind, ...] = Field(
        default=(CURATED,), min_length=1, description="`curated`, or columns of the word list"
    )
    encodings: tuple[Encoding, ...] = Field(default=("unembed",), min_length=1, description="how a memory is encoded")
    layers: Literal["all"] | LayerStep | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default="all", description="`all`, a list of layers, or `{step: n}` for every n-th from layer 0"
    )
    magnitudes: tuple[float, ...] = Field(
        default=tuple(float(t) for t in range(1, 16)),
        min_length=1,
        description="factors of the memory vector, any real numbers",
    )

    @field_validator("memories", "encodings", "layers", "magnitudes")
    @classmethod
    def _no_repeats(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            if not value:
                raise ValueError("the list is empty; name at least one")
            if len(set(value)) < len(value):
                raise ValueError(f"{list(value)} names something twice; name each once")
            if not all(math.isfinite(item) for item in value if isinstance(item, float)):
                raise ValueError("magnitudes must be finite numbers")
        return value

    def layer_list(self, n_layers: int) -> list[int]:
        """The layers of a model with `n_layers`; raises `StudyError` for a layer it does not have."""
        if self.layers == "all":
            return list(range(n_layers))
        if isinstance(self.layers, LayerStep):
            return list(range(0, n_layers, self.layers.step))
        for layer in self.layers:
            if layer >= n_layers:
                raise StudyError(
                    f"config key injection.layers asks for layer {layer}, but the model has {n_layers} layers; "
                    f"use layers 0 to {n_layers - 1}"
                )
        return sorted(self.layers)


class Attribution(_Section):
    """How attention heads are read in vocabulary space."""

    top_k: int = Field(default=30, ge=1, description="tokens kept per head")
    bos: bool = Field(default=True, description="run prompts with the BOS token; the authors run them without")


class Study(_Section):
    """A whole study: which models, which data, which injections. Without models and data sets, and with the authors'
    published results, it is a re-analysis of those."""

    study: Name = Field(description="name of the study; results land in `results/<study>/`")
    seed: int = Field(default=0, ge=0, description="seed of the random words")
    models: dict[Name, Model] = Field(
        default={}, min_length=1, description="a name, used in paths, and a source for each model"
    )
    datasets: dict[Name, Dataset] = Field(
        default={}, min_length=1, description="a name and a source for each set of prompt pairs"
    )
    published: Published | None = Field(default=None, description="the authors' own results, to compare with")
    words: Words | None = Field(default=None, description="word list, a column a part of speech, for random memories")
    injection: tuple[InjectionGrid, ...] = Field(
        default=(InjectionGrid(),), min_length=1, description="a grid of injections, or a list of grids"
    )
    precision: Precision = Field(
        default="float32",
        description="arithmetic of the injections: `float32` is exact; `tf32` and `bfloat16` are faster on a GPU",
    )
    attribution: Attribution = Field(default=Attribution(), description="how attention heads are read")
    shards: Shards | dict[Name, Shards] = Field(
        default=1,
        description="jobs that share out the layers of a model's injections into a data set: a number, or one for each "
        "model that is named (others: 1)",
    )

    @field_validator("models", "datasets", "shards")
    @classmethod
    def _order_of_keys_means_nothing(cls, value: Any) -> Any:
        return dict(sorted(value.items())) if isinstance(value, dict) else value

    @field_validator("injection", mode="before")
    @classmethod
    def _one_grid_is_a_list_of_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping | InjectionGrid) else value

    @model_validator(mode="after")
    def _has_models_and_data(self) -> "Study":
        for key in ("models", "datasets"):
            if not getattr(self, key) and not self.is_reanalysis:
                raise ValueError(f"{key} is missing; add it (config/README.md describes it)")
        return self

    @model_validator(mode="after")
    def _sweeps_are_distinct_and_have_words(self) -> "Study":
        pairs = [pair for grid in self.injection for pair in _sweeps(grid)]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"injection: memories {pair[0]} in encoding {pair[1]} stand in two grids; use one")
        random = [memories for memories, _ in pairs if memories != CURATED]
        if random and self.words is None:
            raise ValueError(f"words: missing, but injection.memories asks for {random[0]}; give a word list")
        paths: dict[str, tuple[str, str]] = {}
        for model in self.models:
            for dataset in self.datasets:
                other = paths.setdefault(f"{model}.{dataset}", (model, dataset))
                if other != (model, dataset):
                    raise ValueError(f"models: {other} and {(model, dataset)} make one file name; rename one of them")
        if self.study == "shared":
            raise ValueError("study: `shared` is where studies keep what they share; choose another name")
        return self

    @model_validator(mode="after")
    def _shards_are_of_models(self) -> "Study":
        for name in self.shards if isinstance(self.shards, dict) else ():
            if name not in self.models:
                raise ValueError(f"shards: {name} is no model of this study; models: {', '.join(self.models)}")
        return self

    @property
    def is_reanalysis(self) -> bool:
        """Whether the study is of the authors' published results alone."""
        return self.published is not None and not self.models and not self.datasets

    def sweeps(self) -> list[tuple[str, str]]:
        """Every (memory kind, encoding) that is swept, in the order of the config."""
        return [pair for grid in self.injection for pair in _sweeps(grid)]

    def grid(self, memories: str, encoding: str) -> InjectionGrid:
        """The grid that sweeps this memory kind in this encoding."""
        return next(grid for grid in self.injection if (memories, encoding) in _sweeps(grid))

    def shards_of(self, model: str) -> int:
        """The number of jobs that share out a model's injections into one data set."""
        return self.shards.get(model, 1) if isinstance(self.shards, dict) else self.shards


def _sweeps(grid: InjectionGrid) -> list[tuple[str, str]]:
    return [(memories, encoding) for memories in grid.memories for encoding in grid.encodings]


def parse_study(config: Mapping[str, Any]) -> Study:
    """The study that a config describes; raises `StudyError` naming the first key that is wrong."""
    try:
        return Study.model_validate(dict(config))
    except ValidationError as error:
        raise StudyError(_sentence(config, error)) from None


def _key(config: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """The dotted key of a pydantic error location, without the parts that only pydantic knows."""
    parts = [str(part) for part in location if part != "[key]"]
    match parts:
        case ["models" | "datasets", name, _, *rest]:
            parts = [parts[0], name, *rest]
        case ["words" | "published", _, *rest]:
            parts = [parts[0], *rest]
        case ["injection", index, *rest]:
            rest = rest[:1] if rest[:1] == ["layers"] else rest
            parts = ["injection", *([index] if isinstance(config.get("injection"), list) else []), *rest]
    return ".".join(parts)


def _sentence(config: Mapping[str, Any], error: ValidationError) -> str:
    """One sentence for the first error: which key, what is wrong, what is allowed."""
    first = error.errors(include_url=False)[0]
    key, given, context = _key(config, first["loc"]), first.get("input"), first.get("ctx", {})
    kind = "layers" if key.endswith(".layers") else first["type"]
    match kind:
        case "extra_forbidden":
            return f"config key {key} is unknown; remove it or correct its spelling (config/README.md lists every key)"
        case "missing" | "union_tag_not_found":
            missing = key if kind == "missing" else f"{key}.source"
            return f"config key {missing} is missing; add it (config/README.md describes it)"
        case "literal_error":
            return f"config key {key} is {given!r}; allowed: {context['expected']}"
        case "layers":
            return f"config key {key} is not valid; allowed: all, a list of layers (0 or more), or {{step: n}}"
        case "union_tag_invalid":
            return f"config key {key}.source is {context['tag']!r}; allowed: {context['expected_tags']}"
        case "value_error":
            message = str(context["error"])
            return f"config key {key}: {message}" if key else f"config key {message}"
        case "tuple_type" | "dict_type" | "model_type" | "model_attributes_type" | "string_type":
            wanted = {"t": "a list", "s": "text (in quotes, if it looks like a number)"}.get(kind[0], "a mapping")
            return f"config key {key} is {given!r}; give {wanted}"
        case "too_short":
            return f"config key {key} is empty; name at least one"
        case _:
            return f"config key {key} is {given!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
