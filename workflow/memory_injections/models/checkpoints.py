"""Model folders in Hugging Face format: filling, converting and checking them, and their manifest."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_injections.checksums import hash_twice, hold_unchanged, verify_file
from memory_injections.errors import ChangedFileError, DamagedFileError, StudyError, UnsupportedArchitectureError

if TYPE_CHECKING:
    from memory_injections.models.sources import ModelSource

# PyTorch and transformers are imported only where they are used: checking a folder must stay fast.
logger = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "transformer_lens", "safetensors", "gguf", "huggingface_hub")
WEIGHTS = "model*.safetensors"
LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_model_folder(folder: Path, name: str | None = None) -> None:
    """Raise `StudyError` unless `folder` holds config, weights and tokenizer in Hugging Face format, and no code.

    Messages call it by `name`, where the user does not know the folder.
    """
    name = name or f"model folder {folder}"
    if not folder.is_dir():
        raise StudyError(f"{name} does not exist; give the path of a folder in Hugging Face format")
    if not (folder / "config.json").is_file():
        raise StudyError(f"{name} has no config.json; save the model there with `save_pretrained`")
    if not any(folder.glob(WEIGHTS)):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise StudyError(
            f"{name} has no weights ({WEIGHTS})"
            + (f" but {pickles[0]}, a pickle, which could run any code" if pickles else "")
            + "; save the model there with `save_pretrained`, or fetch the whole repository"
        )
    if not any((folder / file).is_file() for file in TOKENIZERS):
        raise StudyError(f"{name} has no tokenizer; save it there with `tokenizer.save_pretrained`")
    for file in ("config.json", "tokenizer_config.json"):
        if (folder / file).is_file() and "auto_map" in read_json(folder / file):
            raise StudyError(
                f"{name} brings code of its own (auto_map in {file}), which is never run; "
                "use a model that transformers has itself"
            )


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a file that holds a JSON object; raise `StudyError` if it does not."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise StudyError(f"file {path} is not a JSON object ({error}); save the model again") from None
    if not isinstance(content, dict):
        raise StudyError(f"file {path} is not a JSON object but {type(content).__name__}; save the model again")
    return content


def link_files(origin: Path, folder: Path) -> None:
    """Link every visible file of one folder into another."""
    for file in sorted(path for path in origin.iterdir() if path.is_file() and not path.name.startswith(".")):
        (folder / file.name).symlink_to(file.resolve())


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file once, into float32 safetensors in Hugging Face format, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("dequantising %s", gguf.name)
    with _parsing_once():
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


@contextmanager
def _parsing_once() -> Iterator[None]:
    """Keep what the library `gguf` parses: transformers asks for it again for every part of a model."""
    import gguf

    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    try:
        for name, original in originals.items():
            setattr(gguf, name, cache(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(gguf, name, original)


def check_weights(folder: Path) -> None:
    """Raise `StudyError` unless every safetensors file is whole and no shard is missing."""
    from safetensors import SafetensorError, safe_open

    remedy = "fetch or save the model again"
    n_tensors = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as tensors:
                n_tensors += len(tensors.keys())
        except (SafetensorError, OSError) as error:
            raise StudyError(f"weights {path.resolve()} are damaged ({error}); {remedy}") from error
    for index in folder.glob("*.index.json"):
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise StudyError(f"file {index.resolve()} has no weight_map; {remedy}")
        for shard in sorted(set(map(str, shards.values()))):
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise StudyError(f"weights {index.resolve().parent / shard} are missing; {remedy}")
    config = read_json(folder / "config.json")
    for key in LAYER_COUNTS:
        if isinstance(config.get(key), int) and not 0 < config[key] <= n_tensors:
            raise StudyError(
                f"file {folder / 'config.json'}: {key} is {config[key]}, but the weights are {n_tensors} tensors; "
                "save the model again"
            )


def fetch_model(source: "ModelSource", folder: Path) -> dict[str, Any]:
    """Fill the empty `folder` with the model's config, tokenizer and weights, and return its manifest.

    Raises `StudyError` for whatever the user can correct.
    """
    revision = source.fill(folder)
    check_model_folder(folder, f"model {source.origin}")
    check_weights(folder)
    return build_manifest(source, revision, folder)


def build_manifest(source: "ModelSource", revision: str | None, folder: Path) -> dict[str, Any]:
    """Describe a model folder so that the same model can be fetched again.

    The manifest records source, resolved revision, architecture, the model's size (`sizes.ModelSize`) and parts
    (`loading.ModelParts`), dtype, SHA-256
    of every file, quicker checksums of the same bytes, and library versions. Raises `StudyError` if config or tokenizer
    cannot be loaded, or do not fit together.
    """
    import torch
    from transformers import AutoConfig

    from memory_injections.models.loading import describe_model, refusing_failures
    from memory_injections.models.tokenisation import load_tokenizer

    with refusing_failures(source.local_folder or folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise UnsupportedArchitectureError(str(config.model_type), "it has an encoder")
        size, parts = describe_model(config)
        last_token = max(load_tokenizer(folder).get_vocab().values(), default=-1)
    if last_token >= size.d_vocab:
        raise StudyError(
            f"the tokenizer of {source.origin} has the token {last_token}, but the model has {size.d_vocab} tokens, "
            "from 0; save both again"
        )
    files = {path.name: hash_twice(path) for path in sorted(folder.iterdir()) if path.is_file()}
    stored = config.dtype or torch.float32
    return {
        "source": source.model_dump(),
        "revision": revision,
        "architecture": config.architectures[0] if config.architectures else config.model_type,
        **asdict(size),
        "parts": asdict(parts),
        "stored_dtype": str(stored).removeprefix("torch."),
        "dtype": "float32",
        "files": {name: sha256 for name, (sha256, _) in files.items()},
        "checksums": {name: checksum for name, (_, checksum) in files.items()},
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def read_manifest(path: str | Path) -> Mapping[str, Any]:
    """Read a manifest that `fetch_model` returned and a job wrote; raise `DamagedFileError` if it is not whole."""
    verify_file(Path(path))
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(Path(path), str(error)) from None


@contextmanager
def hold_model(folder: Path, manifest: Path, weights: bool = True) -> Iterator[None]:
    """Make sure that what the block loads from a model folder are the very bytes that its manifest describes.

    Without `weights`, config and tokenizer are looked at alone. Raises `DamagedFileError` with the manifest, which is
    no longer true.
    """
    checksums = read_manifest(manifest)["checksums"].items()
    try:
        with hold_unchanged(
            {folder / name: value for name, value in checksums if weights or not name.endswith(".safetensors")}
        ):
            yield
    except ChangedFileError as error:
        reason = f"{error.path.resolve()} is no longer the file that it describes"
        raise DamagedFileError(manifest, reason) from None
