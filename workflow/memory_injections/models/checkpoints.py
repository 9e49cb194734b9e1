"""Model folders in Hugging Face format: filling, converting and checking them, and their manifest."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_injections.atomic_files import hash_file
from memory_injections.errors import StudyError

if TYPE_CHECKING:
    from memory_injections.models.sources import ModelSource

# PyTorch and transformers are imported only where they are used: checking a folder must stay fast.
logger = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "transformer_lens", "safetensors", "gguf", "huggingface_hub")
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


def link_files(origin: Path, folder: Path, link: Callable[[Path, Path], None]) -> None:
    """Call `link(file, target)` for every visible file of one folder, with its place in another as target."""
    for file in sorted(path for path in origin.iterdir() if path.is_file() and not path.name.startswith(".")):
        link(file.resolve(), folder / file.name)


def hard_link_or_copy(file: Path, target: Path) -> None:
    """Make a file available under another path, whatever becomes of the first: as a hard link, or else as a copy."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file once, into float32 safetensors in Hugging Face format, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("dequantising %s", gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain float32 now, but as the config still calls them quantised, saving would fail.
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
    from safetensors import SafetensorError, safe_open

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


def fetch_model(source: "ModelSource", folder: Path) -> dict[str, Any]:
    """Fill the empty `folder` with the model's config, tokenizer and weights, and return its manifest.

    Raises `StudyError` for whatever the user can correct.
    """
    revision = source.fill(folder)
    check_model_folder(folder)
    check_weights(folder)
    return build_manifest(source, revision, folder)


def build_manifest(source: "ModelSource", revision: str | None, folder: Path) -> dict[str, Any]:
    """Describe a model folder so that the same model can be fetched again.

    The manifest records source, resolved revision, architecture, the model's size (`sizes.ModelSize`), dtype, SHA-256
    of every file and library versions. Raises `StudyError` if config or tokenizer cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    from memory_injections.models.loading import measure_model

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
        **asdict(measure_model(config)),
        "stored_dtype": str(stored).removeprefix("torch."),
        "dtype": "float32",
        "files": {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()},
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def read_manifest(path: str | Path) -> Mapping[str, Any]:
    """Read a manifest that `fetch_model` returned and a job wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
