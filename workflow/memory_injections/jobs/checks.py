"""Checks of local files and folders that a study names, made before anything runs."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from memory_injections.config.study import Study
from memory_injections.data.group_columns import check_columns
from memory_injections.data.sources import LocalFile, check_local_files
from memory_injections.data.text_files import read_heading
from memory_injections.errors import DamagedFileError, StudyError, UnknownWordsError
from memory_injections.models.checkpoints import LAYER_COUNTS, check_model_folder, read_json, read_manifest
from memory_injections.paper.published_sources import check_published_folder
from memory_injections.terms import CURATED, column_name


def check_inputs(study: Study) -> None:
    """Raise `StudyError` for the first local model folder, data file or word list that is missing or incomplete."""
    for model in study.models.values():
        if model.local_folder is not None:
            check_model_folder(model.local_folder)
            _check_layers(study, model.local_folder)
    try:
        key = "published.path"
        if study.published is not None:
            check_published_folder(study.published)
        for name, data in study.datasets.items():
            key = f"datasets.{name}.path"
            check_local_files(data)
        key = "words.path"
        if study.words is not None:
            check_local_files(study.words)
    except StudyError as error:
        raise StudyError(f"config key {key}: {error}") from None
    _check_group_columns(study)
    if isinstance(study.words, LocalFile):
        _check_word_columns(study, Path(study.words.path))


def _check_group_columns(study: Study) -> None:
    """Check the columns that effects are broken down by, if all data sets are files of this machine."""
    files = {name: data.path for name, data in study.datasets.items() if isinstance(data, LocalFile)}
    if files and len(files) == len(study.datasets):
        check_columns({name: read_heading(Path(path), f"file {path}") for name, path in files.items()}, study.by)


def check_known_models(study: Study, manifests: Iterable[Path]) -> None:
    """Raise `LayerError` for a layer that a model does not have whose manifest an earlier run left."""
    for manifest in manifests:
        with suppress(FileNotFoundError, DamagedFileError):  # it will be made, or made again
            study.expand_grids(read_manifest(manifest)["n_layers"])


def _check_layers(study: Study, folder: Path) -> None:
    config = read_json(folder / "config.json")
    for key in LAYER_COUNTS:
        if isinstance(config.get(key), int) and config[key] > 0:
            study.expand_grids(config[key])


def _check_word_columns(study: Study, path: Path) -> None:
    columns = [column_name(heading) for heading in read_heading(path, f"file {path}")]
    for memories in study.list_random_memories():
        if memories not in columns:
            raise UnknownWordsError(memories, [CURATED, *columns])
