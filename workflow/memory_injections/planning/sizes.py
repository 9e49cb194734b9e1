"""How large a study's models and data sets are, known before anything of them is fetched.

A model's size follows from its configuration: it is built without weights, and its matrices are counted.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from memory_injections.data.answers import list_answers
from memory_injections.data.sources import DataSource, check_local_files
from memory_injections.errors import StudyError
from memory_injections.models.checkpoints import check_model_folder, read_manifest
from memory_injections.models.sizes import ModelSize
from memory_injections.models.sources import ModelSource, UntrainedModel
from memory_injections.planning.machines import locate_known, read_known
from memory_injections.terms import KIND_COLUMNS, TWIN

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Models' libraries are imported where they are needed: the workflow measures prompts in every one of its processes.

# Byte-pair tokenizers on the prompts of the studies: 3.9 to 4.8, 4.3 in the middle.
CHARACTERS_PER_TOKEN = 4.3
# Mean tokens of the texts of a data set that is not at hand.
TYPICAL_TOKENS: Mapping[str, float] = {"explicit": 12, "obscure": 16, "memory": 6}


class UnknownModelSizeError(StudyError):
    """A model of the study whose size nothing tells before it is fetched."""

    def __init__(self, name: str, origin: str) -> None:
        super().__init__(f"the size of model {name} ({origin}) is not known before it is fetched")
        self.name = name


class UnknownDataSizeError(StudyError):
    """A data set of the study whose number of prompt pairs nothing tells before it is fetched."""

    def __init__(self, name: str) -> None:
        super().__init__(f"how many prompt pairs data set {name} has is not known before it is fetched")
        self.name = name


@dataclass(frozen=True)
class DataSize:
    """How many prompt pairs a data set has, and how many tokens, BOS included, each kind of text has on average.

    Of each pair, `n_answers` are scored, aliases among them, with `answer_tokens` (without BOS) on average.
    """

    n_prompts: int
    tokens: Mapping[str, float]
    n_answers: float = 1
    answer_tokens: float = 3


def find_model_size(name: str, source: ModelSource, shared: Path | None = None) -> tuple[ModelSize, str]:
    """The size of a study's model, and where it is from: its folder, what is known, or the hub.

    `shared` is the folder that studies share what they fetch in: the model there is used if it is of the same source.
    Raises `UnknownModelSizeError` if nothing tells. The hub comes last: where it cannot be reached, it takes half a
    minute to say so.
    """
    if source.local_folder is not None:
        check_model_folder(source.local_folder)
        return _measure_folder(source.local_folder)
    if shared is not None and _is_fetched(shared / "models" / name, source):
        return _measure_folder(shared / "models" / name / "checkpoint")
    if isinstance(source, UntrainedModel):
        return find_model_size(name.removesuffix(TWIN), source.like, shared)
    if source.origin in read_known()["models"]:
        from transformers import AutoConfig

        return _measure(AutoConfig.for_model(**read_known()["models"][source.origin])), locate_known()
    if source.repository is not None:
        from memory_injections.download.hub import download_config

        with TemporaryDirectory() as folder:
            return _measure_folder(download_config(*source.repository, Path(folder)).parent, "the hub")
    raise UnknownModelSizeError(name, source.origin)


def _is_fetched(folder: Path, source: ModelSource) -> bool:
    """Whether a folder of the shared models holds the model of this very source."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and read_manifest(manifest)["source"] == source.model_dump()


def _measure(config: "PreTrainedConfig") -> ModelSize:
    from memory_injections.models.loading import describe_model

    return describe_model(config)[0]


def _measure_folder(folder: Path, origin: str | None = None) -> tuple[ModelSize, str]:
    """The size of the model in a folder, and where it is from: the folder, unless `origin` says it."""
    from transformers import AutoConfig

    origin = origin or str(folder)
    try:
        return _measure(AutoConfig.from_pretrained(folder)), origin
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StudyError(f"the config.json of {origin} cannot be read ({reason}); save the model again") from None


def find_data_size(name: str, source: DataSource, n_prompts: int | None = None) -> tuple[DataSize, str]:
    """The size of a study's data set, and where it is from: its own file on this machine, what is known, or the config.

    Nothing of that telling, it is `n_prompts`, or else `UnknownDataSizeError` is raised. A file that another job has
    fetched under the same name is not looked at, because it does not say what it was fetched from.
    """
    if source.file_name is not None and source.local_files():
        check_local_files(source)
        return measure_texts(source.read_pairs().to_dict("records")), source.local_files()[0]
    known = read_known()["datasets"].get(source.file_name)
    if known is not None:
        n_known = known.get("n_prompts") or sum(size * count for size, count in known["clusters"].items())
        return DataSize(min(n_known, source.n_rows or n_known), known.get("tokens", TYPICAL_TOKENS)), locate_known()
    if source.n_rows is not None:
        return DataSize(source.n_rows, TYPICAL_TOKENS), "the config"
    if n_prompts is None:
        raise UnknownDataSizeError(name)
    return DataSize(n_prompts, TYPICAL_TOKENS), "the command line"


def measure_pairs(path: Path) -> DataSize:
    """The size of a data set's table of prompt pairs as the workflow keeps it."""
    with path.open(encoding="utf-8", newline="") as file:
        return measure_texts(csv.DictReader(file))


def measure_texts(pairs: Iterable[Mapping[str, str]]) -> DataSize:
    """The size of some prompt pairs, their tokens estimated from their characters."""
    n_prompts, characters, answers = 0, dict.fromkeys(KIND_COLUMNS, 0), [0, 0]
    for pair in pairs:
        n_prompts += 1
        for kind, column in KIND_COLUMNS.items():
            characters[kind] += len(pair[column])
        for answer in list_answers(pair):
            answers = [answers[0] + 1, answers[1] + len(answer) + 1]
    tokens = {kind: 1 + total / max(1, n_prompts) / CHARACTERS_PER_TOKEN for kind, total in characters.items()}
    n_answers, length = answers[0] / max(1, n_prompts), answers[1] / max(1, answers[0])
    return DataSize(n_prompts, tokens, n_answers, max(1, length / CHARACTERS_PER_TOKEN))
