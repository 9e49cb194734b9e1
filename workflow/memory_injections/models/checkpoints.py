"""Model folders in Hugging Face format: filling, converting and checking them, and their manifest."""

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from memory_injections.checksums import guard_unchanged, hash_twice, verify_file
from memory_injections.errors import ChangedFileError, DamagedFileError, StudyError, UnsupportedArchitectureError

# PyTorch and transformers are imported only where they are used: checking a folder must stay fast.
logger = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "transformer_lens", "safetensors", "gguf", "huggingface_hub")
WEIGHTS = "model*.safetensors"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# Files of a model's folder by their names. Those that make a model are read.
VOCABULARIES = (
    "tokenizer.json", "tekken.json", "*.model", "*.tiktoken", "vocab.json", "vocab.txt", "emoji.json",
)  # fmt: skip
READ = (
    "config.json", "generation_config.json", INDEX, WEIGHTS, *VOCABULARIES, "tokenizer*.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template*",
)  # fmt: skip
# Left alone: the same weights for other programs, and the state of a training.
LEFT_ALONE = (
    "pytorch_model*.bin", "tf_model*.h5", "flax_model*.msgpack", "openvino_*.bin", "ggml*.bin", "consolidated*.pth",
    "training_args.bin", "optimizer*", "scheduler*", "scaler*", "rng_state*.pth", "random_states_*.pkl",
)  # fmt: skip
# Refused: what would change a model if it were used as it is meant, which includes weights of unknown purpose.
UNKNOWN_WEIGHTS = "weights that would be ignored; move it elsewhere if the model is whole without it"
REFUSED_FILES = {
    "adapter_*.json": "an adapter, which is not applied; merge it into the weights and save the model again",
    "*quant*.json": "its weights are quantised, and not read as they are meant; save the model in float32 or float16",
    **{f"*.{kind}": UNKNOWN_WEIGHTS for kind in ("bin", "pt", "pth", "ckpt", "h5", "msgpack", "npz", "pkl", "pickle")},
}
# Of a repository, what is read is fetched, and what tells that the model should be refused.
FETCHED = (*READ, *(pattern for pattern in REFUSED_FILES if pattern.endswith(".json")))
# Keys of a configuration that say the same, and that ask for other code than transformers' own.
QUANTISED = ("quantization_config", "compression_config")
KERNELS = ("use_kernels", "kernel_config")
# Keys of a configuration that name the files to read, with the names that are read anyway.
REDIRECTIONS: Mapping[str, Sequence[str]] = {"configuration_files": (), "transformers_weights": (WHOLE, INDEX)}
# safetensors' names of types that hold weights as they are, and that hold tables of indices and masks.
FLOATS, TABLES = ("F64", "F32", "F16", "BF16"), ("I64", "BOOL")
REMEDY = "fetch or save the model again"
LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers")


def list_read_files(folder: Path) -> list[Path]:
    """List the files of a model folder that make the model; all others stay where they are and are never read."""
    return [path for path in _list_files(folder) if _matches(path.name, READ)]


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def find_fault(name: str) -> str | None:
    """Say why a file of this name must not be in a model's folder; None if it may be there.

    Names of no list change no model: documents, pictures, settings and formats of other programs, and code, which
    transformers runs only where a configuration names it (`auto_map`, which is refused).
    """
    if _matches(name, (*READ, *LEFT_ALONE)):
        return None
    return next((reason for pattern, reason in REFUSED_FILES.items() if fnmatchcase(name, pattern)), None)


def check_model_folder(folder: Path, name: str | None = None) -> None:
    """Raise `StudyError` unless `folder` holds one model in Hugging Face format, and nothing that would change it.

    Messages call it by `name`, where the user does not know the folder.

    A model is config, weights and tokenizer. What would change it, if it were read as it is meant: code, adapters, a
    second set of weights, quantisation, other files in place of these, and kernels from the hub. Any other file is not
    read (`list_read_files`).
    """
    name = name or f"model folder {folder}"
    if not folder.is_dir():
        raise StudyError(f"{name} does not exist; give the path of a folder in Hugging Face format")
    files = [path.name for path in _list_files(folder)]
    for file in files:
        if fault := find_fault(file):
            raise StudyError(f"{name} has the file {file}: {fault}")
    if "config.json" not in files:
        raise StudyError(f"{name} has no config.json; save the model there with `save_pretrained`")
    _check_sets_of_weights(folder, name)
    if not any(_matches(file, VOCABULARIES) for file in files):
        raise StudyError(f"{name} has no tokenizer; save it there with `tokenizer.save_pretrained`")
    for file in ("config.json", "tokenizer_config.json"):
        if file in files:
            _check_settings(folder / file, name)


def _check_sets_of_weights(folder: Path, name: str) -> None:
    """Raise `StudyError` unless a folder has one set of weights: `WHOLE`, or the shards of its index."""
    found = {path.name for path in folder.glob("*.safetensors") if not path.name.startswith(".")}
    if not any(fnmatchcase(file, WEIGHTS) for file in found):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise StudyError(
            f"{name} has no weights ({WEIGHTS})"
            + (f" but {pickles[0]}, a pickle, which could run any code" if pickles else "")
            + "; save the model there with `save_pretrained`, or fetch the whole repository"
        )
    shards = _list_shards(folder)
    if WHOLE not in found and not shards:
        raise StudyError(f"{name} has {min(found)} but no {INDEX}; fetch or save the whole model again")
    # transformers reads `WHOLE` where it is there, and leaves shards alone.
    if others := sorted(found - (shards or {WHOLE})):
        raise StudyError(
            f"{name} has more than one set of weights ({others[0]} is in addition to "
            f"{min(shards or {WHOLE})}), of which one would be ignored; move the others elsewhere"
        )


def _list_shards(folder: Path) -> set[str]:
    """List the files of weights that a folder's index names, if it has one; raise `StudyError` if one is missing."""
    index = folder / INDEX
    if not index.is_file():
        return set()
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise StudyError(f"file {index.resolve()} has no weight_map; {REMEDY}")
    names = set(map(str, shards.values()))
    for shard in sorted(names):
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise StudyError(f"weights {index.resolve().parent / shard} are missing; {REMEDY}")
    return names


def _check_settings(file: Path, name: str) -> None:
    """Raise `StudyError` for a setting, at any depth, that would change the model or run code."""
    for key, value in _walk(read_json(file)):
        if key == "auto_map":
            raise StudyError(
                f"{name} brings code of its own (auto_map in {file.name}), which is never run; "
                "use a model that transformers has itself"
            )
        if key in QUANTISED and value:
            raise StudyError(
                f"{name} has quantised weights ({key} in {file.name}), which are not read as they are meant; "
                "save the model in float32, float16 or bfloat16"
            )
        if value and key in REDIRECTIONS and value not in REDIRECTIONS[key]:
            raise StudyError(
                f"{name} names other files to be read ({key} in {file.name}) than config.json and {WHOLE}; "
                "give them these names, and remove that key"
            )
        if (key in KERNELS and value) or (key.endswith("_implementation") and "/" in str(value)):
            raise StudyError(
                f"{name} asks for kernels from the hub ({key} in {file.name}), which are code and never run; "
                "remove that key"
            )


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a JSON value with what it holds, at any depth."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []


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
    """Link every file that makes the model of a folder into another."""
    for file in list_read_files(origin):
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


def draw_weights(origin: Path, folder: Path, seed: int) -> None:
    """Fill an empty folder with the model of another one, its weights drawn as transformers starts a training.

    They are drawn on the CPU, in float32, so that they depend on the seed and the versions of the libraries alone.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    for file in list_read_files(origin):
        if file.name != INDEX and not fnmatchcase(file.name, WEIGHTS):
            shutil.copyfile(file, folder / file.name)
    config = AutoConfig.from_pretrained(origin, trust_remote_code=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)


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
    """Raise `StudyError` unless every safetensors file is whole, of floating-point numbers, and no shard is missing.

    Integers and 8-bit floats are multiples of scales that only the library knows which made them. A tensor of whole
    numbers that is called neither weight nor bias is a table, such as the experts of each token in DeepSeek-V4.
    """
    from safetensors import SafetensorError, safe_open

    from memory_injections.models.loading import COMPUTED

    n_tensors = 0
    for path in sorted(folder.glob(WEIGHTS)):
        try:
            with safe_open(path, framework="pt") as tensors:
                types = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118 (it cannot be iterated)
        except (SafetensorError, OSError) as error:
            raise StudyError(f"weights {path.resolve()} are damaged ({error}); {REMEDY}") from error
        n_tensors += len(types)
        for name, dtype in types.items():
            is_table = dtype in TABLES and not name.endswith((".weight", ".bias"))
            if dtype not in FLOATS and not is_table and not COMPUTED.search(name):
                raise StudyError(
                    f"weights {path.resolve()} have {name} in {dtype}, whose scale is not known; save the model in "
                    "float32, float16 or bfloat16"
                )
    _list_shards(folder)
    config = read_json(folder / "config.json")
    for key in LAYER_COUNTS:
        if isinstance(config.get(key), int) and not 0 < config[key] <= n_tensors:
            raise StudyError(
                f"file {folder / 'config.json'}: {key} is {config[key]}, but the weights are {n_tensors} tensors; "
                "save the model again"
            )


def build_manifest(folder: Path, origin: str, users_folder: Path | None = None) -> dict[str, Any]:
    """Check the folder of a model and describe it so that the same model can be fetched again.

    The manifest records architecture, the model's size (`sizes.ModelSize`) and parts (`loading.ModelParts`), dtype,
    SHA-256 of every file, quicker checksums of the same bytes, and library versions. Messages name the model's
    `origin`, or the folder that the user knows it by. Raises `StudyError` unless the folder holds one whole model whose
    config and tokenizer can be loaded and fit together.
    """
    import torch
    from transformers import AutoConfig

    from memory_injections.models.loading import describe_model, refusing_failures
    from memory_injections.models.tokenisation import load_tokenizer

    check_model_folder(folder, f"model {origin}")
    check_weights(folder)
    with refusing_failures(users_folder or folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise UnsupportedArchitectureError(str(config.model_type), "it has an encoder")
        size, parts = describe_model(config)
        last_token = max(load_tokenizer(folder).get_vocab().values(), default=-1)
    if last_token >= size.d_vocab:
        raise StudyError(
            f"the tokenizer of {origin} has the token {last_token}, but the model has {size.d_vocab} tokens, "
            "from 0; save both again"
        )
    files = {path.name: hash_twice(path) for path in sorted(folder.iterdir()) if path.is_file()}
    stored = config.dtype or torch.float32
    return {
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
    """Read a model's manifest that a job wrote; raise `DamagedFileError` if it is not whole."""
    verify_file(Path(path))
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(Path(path), str(error)) from None


@contextmanager
def guard_model(folder: Path, manifest: Path, weights: bool = True) -> Iterator[None]:
    """Make sure that what the block loads from a model folder are the very bytes that its manifest describes.

    Without `weights`, config and tokenizer are looked at alone. Raises `DamagedFileError` with the manifest, which is
    no longer true.
    """
    checksums = read_manifest(manifest)["checksums"].items()
    try:
        with guard_unchanged(
            {folder / name: value for name, value in checksums if weights or not name.endswith(".safetensors")}
        ):
            yield
    except ChangedFileError as error:
        reason = f"{error.path.resolve()} is no longer the file that it describes"
        raise DamagedFileError(manifest, reason) from None
