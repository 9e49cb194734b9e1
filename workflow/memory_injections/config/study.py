"""The model of a study's config, with defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StrictBool, Tag, ValidationError, field_validator, model_validator

from memory_injections.config.files import read_config
from memory_injections.config.messages import describe_invalid_config
from memory_injections.controls.settings import Answers, Controls
from memory_injections.data.sources import DataSource, Words, list_data_sources
from memory_injections.errors import StudyError
from memory_injections.mechanisms.settings import Mechanisms
from memory_injections.models.sources import ModelSource, list_model_sources
from memory_injections.paper.published_sources import Published
from memory_injections.sweeps.grid import InjectionGrid, Sweep, check_list, expand_grids
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import (
    CURATED,
    FIRST_TOKEN,
    GENERATION,
    MARGIN,
    PAPER_ENCODING,
    TWIN,
    WHOLE_ANSWER,
    AnswerPositions,
    Count,
    Index,
    Late,
    Name,
    Number,
    Outcome,
    Population,
    Precision,
    Section,
    Shortcut,
    make_default,
    unite,
)

Dataset = Annotated[DataSource, Late(lambda: unite(list_data_sources()))]
Model = Annotated[ModelSource, Late(lambda: unite(list_model_sources()))]
# No language model has as many layers.
MOST_SHARDS = 1000
JobCount = Annotated[Count, Field(le=MOST_SHARDS)]
Shards = Annotated[
    Annotated[JobCount, Tag("number")] | Annotated[dict[Name, JobCount], Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, Mapping) else "number"),
]
Grids = Annotated[tuple[InjectionGrid, ...], Field(min_length=1)]
# The discriminator lets a wrong key of the mapping be named.
ControlsOrNone = Annotated[
    Annotated[Controls, Tag("mapping")] | Annotated[Literal[False], Tag("false")],
    Discriminator(lambda value: "false" if value is False else "mapping"),
]


class Attribution(Section):
    """How attention heads are read in vocabulary space."""

    top_k: Count = Field(default=30, description="tokens kept per head")
    bos: bool = Field(default=True, description="run prompts with the BOS token; the authors run them without")


class Study(Section):
    """A whole study: which models, which data, which injections. Without models and data sets, and with the authors'
    published results, it is a re-analysis of those."""

    study: Name = Field(description="name of the study; results land in `results/<study>/`")
    seed: Index = Field(default=0, description="seed of the random words")
    margin: Annotated[Number, Field(gt=0, allow_inf_nan=False)] = Field(
        default=MARGIN,
        description="effects within so many nats of zero do not matter in practice; at 0.1, a probability of 20 % "
        "becomes 22 %",
    )
    models: dict[Name, Model] = Field(
        default={}, min_length=1, description="a name, used in paths, and a source for each model"
    )
    twin: StrictBool = Field(
        default=False,
        description="whether each model has a twin with fresh weights, `<name>-untrained`, which knows nothing: its "
        "verdicts stand beside the model's, and must not find any effect",
    )
    datasets: dict[Name, Dataset] = Field(
        default={}, min_length=1, description="a name and a source for each set of prompt pairs"
    )
    published: Published | None = Field(default=None, description="the authors' own results, to compare with")
    words: Words | None = Field(default=None, description="word list, a column a part of speech, for random memories")
    population: Population = Field(
        default="all",
        description="which prompts the verdicts are about: `all`; `both_hops_known`, those of whose facts the model "
        "knows both (by the smallest of `controls.known_ranks` or, with `outcome: generation`, by what it writes); "
        "`composition_missed`, those of them whose obscure prompt it answers wrong",
    )
    leave_out: tuple[Shortcut, ...] = Field(
        default=(),
        description="prompts with a shortcut that do not count: `words`, a word of the memory or the answer in the "
        "obscure prompt; `without_entity`, `without_relation`, answered right without that part of the description",
    )
    by: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("relation",),
        description="columns of the data by which effects are broken down; where there is no `relation`, it is what "
        "the explicit prompt asks of its entity",
    )
    injection: Grids = Field(default=(InjectionGrid(),), description="a grid of injections, or a list of grids")
    precision: Precision = Field(
        default="float32",
        description="arithmetic of the injections: `float32` is exact; `tf32` and `bfloat16` are faster on a GPU",
    )
    attribution: Attribution = Field(default=Attribution(), description="how attention heads are read")
    answers: Answers = Field(default=Answers(), description="how whole answers are scored, and which are written")
    outcome: Outcome = Field(
        default="first_token",
        description="what the verdicts rest on: the probability of the answer's first token, that of the whole answer "
        "(with `injection.score: whole`), or the answers that the model writes",
    )
    controls: ControlsOrNone = make_default(
        Controls, "what is injected in place of the memories; `false` leaves that out"
    )
    mechanisms: Mechanisms | Literal[False] = Field(
        default=Mechanisms(), description="how closely the injections are looked at; `false` leaves that out"
    )
    walkthrough: bool = Field(
        default=True, description="whether the walk-through is made, which loads a model once more"
    )
    shards: Shards = Field(
        default=1,
        description="jobs that share out the layers of a model's injections into a data set: a number, or one for each "
        "model that is named (others: 1)",
    )

    _check = field_validator("leave_out", "by")(lambda value: check_list(value) if value else value)

    @model_validator(mode="before")
    @classmethod
    def _add_twins(cls, config: Any) -> Any:
        models = config.get("models") if isinstance(config, Mapping) else None
        if not (isinstance(models, Mapping) and config.get("twin") is True):
            return config
        twins = {
            f"{name}{TWIN}": {"source": "untrained", "like": source}
            for name, source in models.items()
            if isinstance(source, Mapping) and source.get("source") != "untrained" and f"{name}{TWIN}" not in models
        }
        return {**config, "models": {**models, **twins}}

    @field_validator("models", "datasets", "shards")
    @classmethod
    def _order_of_keys_means_nothing(cls, value: Any) -> Any:
        return dict(sorted(value.items())) if isinstance(value, dict) else value

    @field_validator("injection", mode="before", json_schema_input_type=InjectionGrid | Grids)
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
        kinds = self.list_kinds()
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"injection: memories {kind[0]} in encoding {kind[1]} stand in two grids; use one")
        random = self.list_random_memories()
        if random and self.words is None:
            raise ValueError(f"words: missing, but injection.memories asks for {random[0]}; give a word list")
        paths: dict[str, tuple[str, str]] = {}
        for model in self.models:
            for dataset in self.datasets:
                # Where the file system ignores case, so do its files.
                other = paths.setdefault(f"{model}.{dataset}".casefold(), (model, dataset))
                if other != (model, dataset):
                    raise ValueError(f"models: {other} and {(model, dataset)} make one file name; rename one of them")
        if self.study.casefold() == "shared":
            raise ValueError("study: `shared` is where studies keep what they share; choose another name")
        return self

    @model_validator(mode="after")
    def _looks_at_what_is_swept(self) -> "Study":
        swept = {encoding for encoding, _ in self.list_curated()}
        for key, part in (("controls", self.controls), ("mechanisms", self.mechanisms)):
            for encoding in (part and part.encodings) or ():
                if encoding not in swept:
                    raise ValueError(
                        f"{key}.encodings: no curated memories are swept with {encoding}; "
                        f"name some of {', '.join(sorted(swept)) or 'none'}, or add it to injection.encodings"
                    )
        kinds = {relative for _, relative in self.list_curated(self.controls or None)}
        for site in (self.controls and self.controls.sites) or ():
            if site.relative not in kinds:
                raise ValueError(
                    f"controls.sites: memories are swept with {'factors' if site.relative else 'relative doses'}"
                    f" only; give that site `relative: {str(not site.relative).lower()}` and a magnitude of that kind"
                )
        return self

    @model_validator(mode="after")
    def _outcome_is_measured(self) -> "Study":
        if self.outcome == WHOLE_ANSWER and any(grid.score != "whole" for grid in self.injection):
            raise ValueError("outcome: whole answers are not scored in every grid; give each `score: whole`")
        if self.outcome == GENERATION and not (self.has_controls and self.answers.write):
            raise ValueError("outcome: no answers are written; give controls, and `answers: {write: true}`")
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

    @model_validator(mode="after")
    def _parts_of_prompts_need_a_model(self) -> "Study":
        for key in ("population", "leave_out"):
            if self.is_reanalysis and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key}: which prompts count is decided by what the model says of each fact, and the authors "
                    "published no such answers; leave the key out of a re-analysis"
                )
        return self

    @property
    def has_population(self) -> bool:
        """Whether the verdicts are about a part of the prompts."""
        return self.population != "all" or bool(self.leave_out)

    @property
    def known_rank(self) -> int | None:
        """The rank below which a model says an answer, where one rank decides: the strictest; None if it is written."""
        return None if self.outcome == GENERATION else min((self.controls or Controls()).known_ranks)

    @property
    def swept_outcome(self) -> Outcome:
        """The outcome that sites are chosen and sweeps judged by: no sweep writes answers."""
        return WHOLE_ANSWER if self.outcome == WHOLE_ANSWER else FIRST_TOKEN

    @property
    def has_mechanisms(self) -> bool:
        """Whether there are memories whose injections the study looks at closely."""
        return bool(self.mechanisms and self.list_curated(self.mechanisms))

    @property
    def has_controls(self) -> bool:
        """Whether there are memories whose controls the study asks for."""
        return bool(self.controls and self.controls.kinds and self.list_curated(self.controls))

    @property
    def has_walkthrough(self) -> bool:
        """Whether there is a walk-through, which needs a model and memories in the paper's encoding."""
        return bool(self.walkthrough and self.models and self.list_papers_kinds())

    def list_papers_kinds(self) -> list[tuple[str, str, bool]]:
        """List the kinds of injection of curated memories in the paper's encoding: first with factors, as there."""
        kinds = [kind for kind in self.list_kinds() if kind[:2] == (CURATED, PAPER_ENCODING)]
        return sorted(kinds, key=lambda kind: kind[2])

    def find_answer_positions(self) -> AnswerPositions | None:
        """Return where memories are added in sweeps that score whole answers; None if no sweep does."""
        return self.answers.positions if any(grid.score == "whole" for grid in self.injection) else None

    def list_kinds(self) -> list[tuple[str, str, bool]]:
        """List every (memories, encoding, whether doses are relative) that is swept, in the order of the config."""
        return [kind for grid in self.injection for kind in grid.list_kinds()]

    def list_curated(self, part: Controls | Mechanisms | None = None) -> list[tuple[str, bool]]:
        """List the (encoding, whether doses are relative) in which curated memories are swept.

        With a part of the study, only those that it looks at.
        """
        swept = [(encoding, relative) for memories, encoding, relative in self.list_kinds() if memories == CURATED]
        asked = part and part.encodings
        return swept if not asked else [kind for kind in swept if kind[0] in asked]

    def list_sweeps(self) -> list[SweepId]:
        """List every sweep: each kind of injection for every model and data set."""
        return [
            SweepId(model, dataset, *kind)
            for model in self.models
            for dataset in self.datasets
            for kind in self.list_kinds()
        ]

    def list_random_memories(self) -> list[str]:
        """List the kinds of random memories, which are columns of the word list."""
        return list(dict.fromkeys(memories for memories, *_ in self.list_kinds() if memories != CURATED))

    def expand_grids(self, n_layers: int) -> list[Sweep]:
        """Expand the grids for a model with `n_layers`; raise `LayerError` for a layer that it does not have."""
        return expand_grids(self.injection, n_layers)

    def count_shards(self, model: str) -> int:
        """Return the number of jobs for a model's injections into one data set."""
        if isinstance(self.shards, dict):
            return self.shards.get(model, self.shards.get(model.removesuffix(TWIN), 1))
        return self.shards


def parse_study(config: Mapping[str, Any], root: Path | None = None) -> Study:
    """Check a config and return its study; raise `StudyError` that names the first wrong key.

    A relative path whose first folder does not exist here is looked up below `root`.
    """
    try:
        return Study.model_validate(dict(config), context={"root": root})
    except ValidationError as error:
        raise StudyError(describe_invalid_config(config, error, Study.model_json_schema())) from None


def read_study(path: Path, root: Path | None = None) -> Study:
    """Read the config file of a study; raise `StudyError` if it cannot be read or is not valid."""
    return parse_study(read_config(path), root)


def read_models_study(path: Path) -> Study:
    """Read the config file of a study that runs models; raise `StudyError` for any other."""
    study = read_study(path)
    if study.is_reanalysis:
        raise StudyError(f"config {path} has no models: a re-analysis of published results runs none")
    return study
