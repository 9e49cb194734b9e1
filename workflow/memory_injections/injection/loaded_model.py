"""A model that is loaded for injections: what jobs and the Python API hand on as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.checkpoints import guard_model, read_manifest
from memory_injections.models.limits import MIN_ROWS
from memory_injections.models.loading import ModelParts, load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.terms import Precision


@dataclass(frozen=True)
class LoadedModel:
    """A model on the fast engine, with its tokenizer, its processed weights, and the manifest of its files, if any."""

    engine: SkippingEngine
    tokenizer: PreTrainedTokenizerBase
    processed: ProcessedWeights
    manifest: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        manifest: Path,
        processed: Path,
        devices: Sequence[torch.device],
        precision: Precision = "float32",
        min_rows: int = MIN_ROWS,
    ) -> "LoadedModel":
        """Load a model from its files; those of the checkpoint are held meanwhile (`checkpoints.guard_model`)."""
        described = read_manifest(manifest)
        with guard_model(checkpoint, manifest):
            model = load_causal_lm(checkpoint, devices, precision)
            engine = SkippingEngine(model, ModelParts.from_manifest(described), min_rows)
            tokenizer = load_tokenizer(checkpoint)
        return cls(engine, tokenizer, ProcessedWeights.load(processed, engine.device), described, precision)

    def build_encoder(self, is_relative: bool = False) -> MemoryEncoder:
        """Return what encodes memories for this model; see `memory_vectors.MemoryEncoder`."""
        return MemoryEncoder(self.engine, self.tokenizer, self.processed, is_relative)
