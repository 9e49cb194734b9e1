"""Checks of what a study names on this machine, made before anything runs."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from .config import (
    CURATED,
    FileDataset,
    LocalFile,
    LocalModel,
    PublishedFolder,
    Study,
    TwoWikiDataset,
    column_name,
)
from .errors import StudyError

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_model_folder(folder: Path) -> None:
    """Raise `StudyError` unless `folder` holds a config, weights and a tokenizer in Hugging Face format."""
    if not folder.is_dir():
        raise StudyError(f"model folder {folder} does not exist; give the path of a folder in Hugging Face format")
    if not (folder / "config.json").is_file():
        raise StudyError(f"model folder {folder} has no config.json; save the model there with `save_pretrained`")
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise StudyError(
            f"model folder {folder} has no weights ({' or '.join(WEIGHTS)}); "
            "save the model there with `save_pretrained`, or fetch the whole repository"
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise StudyError(f"model folder {folder} has no tokenizer; save it there with `tokenizer.save_pretrained`")


def check_local_files(study: Study) -> None:
    """Raise `StudyError` for the first local model folder, data file or word list that is not there or not whole."""
    for model in study.models.values():
        if isinstance(model, LocalModel):
            check_model_folder(Path(model.path))
            _check_layers(study, Path(model.path))
    if isinstance(study.published, PublishedFolder) and not Path(study.published.path).is_dir():
        raise StudyError(f"config key published.path: folder {study.published.path} does not exist; correct the path")
    files = {
        f"datasets.{name}": data.path
        for name, data in study.datasets.items()
        if isinstance(data, FileDataset | TwoWikiDataset) and data.path
    }
    if isinstance(study.words, LocalFile):
        files["words"] = study.words.path
    for key, path in files.items():
        if not Path(path).is_file():
            raise StudyError(f"config key {key}.path: file {path} does not exist; correct the path")
    if isinstance(study.words, LocalFile):
        _check_word_columns(study, Path(study.words.path))


def _check_layers(study: Study, folder: Path) -> None:
    try:
        config = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise StudyError(
            f"file {folder / 'config.json'} is not a JSON object ({error}); save the model again"
        ) from None
    for key in ("num_hidden_layers", "n_layer", "num_layers"):
        if isinstance(config.get(key), int):
            for grid in study.injection:
                grid.layer_list(config[key])


def check_known_models(study: Study, manifests: Iterable[Path]) -> None:
    """Raise `StudyError` for a layer that a model does not have whose manifest an earlier run left."""
    for manifest in manifests:
        if manifest.is_file():
            for grid in study.injection:
                grid.layer_list(json.loads(manifest.read_text(encoding="utf-8"))["n_layers"])


def _check_word_columns(study: Study, path: Path) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = [column_name(heading) for heading in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"file {path} is not a CSV table in UTF-8 ({error}); repair it") from None
    for memories, _ in study.sweeps():
        if memories != CURATED:
            check_column(memories, columns)


def check_column(memories: str, columns: list[str]) -> None:
    """Raise `StudyError` unless the word list has the column that a random memory names."""
    if memories not in columns:
        raise StudyError(
            f"config key injection.memories: the word list has no column {memories!r}; "
            f"allowed: {', '.join([CURATED, *columns])}"
        )


def model_files(folder: str) -> list[str]:
    """The files of a local model folder: a model changes when one of them does."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))


def result_files(folder: str) -> list[str]:
    """The files of the authors' results below a folder: what is made of them changes when one of them does."""
    return sorted(str(path) for path in Path(folder).rglob("*.csv"))
