"""The independent slow path: one prompt, one cell, one full forward pass at a time, on processed weights."""

from pathlib import Path

import pandas as pd
import torch
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.engine import InjectionEngine
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import Prompt, load_tokenizer, tokenise_memory, tokenise_prompt
from transformers import PreTrainedTokenizerBase

CPU = [torch.device("cpu")]


class Model:
    """A model in both forms, with everything that turns texts into cells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer, self.bridge = load_tokenizer(folder), load_bridge(folder, CPU)
        self.processed, self.engine = ProcessedWeights.of(self.bridge), SkippingEngine(load_causal_lm(folder, CPU))
        self.computer = self.build_computer(self.engine)

    def build_computer(self, engine: InjectionEngine) -> CellComputer:
        """Return a `CellComputer` for an engine."""
        return CellComputer(engine, MemoryEncoder(engine, self.tokenizer, self.processed))

    def slow_log_probs(self, ids: list[int], layer: int, vector: torch.Tensor) -> torch.Tensor:
        """Log-probabilities from one full forward pass with a TransformerLens hook, on processed weights.

        `vector` [d_model] is added at every position, or [pos, d_model] to each its own.
        """
        with torch.inference_mode():
            logits = self.bridge.run_with_hooks(
                torch.tensor([ids]), fwd_hooks=[(f"blocks.{layer}.hook_attn_out", lambda out, hook: out + vector)]
            )
        return logits[0, -1].log_softmax(-1)

    def slow_residual(self, ids: list[int], layer: int) -> torch.Tensor:
        """The residual stream before a block, at the last position."""
        with torch.inference_mode():
            _, cache = self.bridge.run_with_cache(torch.tensor([ids]))
        return cache[f"blocks.{layer}.hook_resid_pre"][0, -1]

    def slow_vector(self, encoding: str, memory: str, layer: int) -> torch.Tensor:
        """The vector of a memory in an encoding, at a layer."""
        tokens = sorted(set(tokenise_memory(self.tokenizer, memory, is_spaced=encoding == "unembed_spaced")))
        if encoding.startswith("unembed"):
            return self.processed.W_U[:, tokens].sum(dim=1)
        if encoding == "embed":
            return self.processed.W_E[tokens].sum(dim=0)
        with torch.inference_mode():
            _, cache = self.bridge.run_with_cache(torch.tensor([tokenise_prompt(self.tokenizer, memory)]))
        return cache[f"blocks.{layer}.hook_attn_out"][0, -1]


def tokenise_pairs(pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> dict[str, Prompt]:
    """Tokenise the obscure prompts and answers of prompt pairs, by prompt_id."""
    return {
        str(pair["prompt_id"]): Prompt.tokenise(tokenizer, pair["obscure_prompt"], pair["answer"])
        for pair in pairs.to_dict("records")
    }


def list_cells(pairs: pd.DataFrame, layers: list[int], magnitudes: list[float], encodings: list[str]) -> pd.DataFrame:
    """List the cells of every prompt with its own memory, at every site and in every encoding."""
    index = pd.MultiIndex.from_product(
        [pairs["prompt_id"].astype(str), encodings, layers, magnitudes],
        names=["prompt", "encoding", "layer", "magnitude"],
    )
    memory = dict(zip(pairs["prompt_id"].astype(str), pairs["memory"], strict=True))
    return index.to_frame(index=False).assign(memory=lambda cells: cells["prompt"].map(memory))
