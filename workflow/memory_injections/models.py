"""Loading a model from a folder in Hugging Face format, in the two forms the study needs.

The *bridge* (TransformerLens, weights processed as `HookedTransformer` did) is where activations are read and
where memories get their coordinates. The *causal LM* (plain Hugging Face blocks, fused attention) is where the
many injected forward passes run; TransformerLens' architecture adapters say where its parts are.
"""

from pathlib import Path

import torch
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf
from transformer_lens.model_bridge.sources.transformers import determine_architecture_from_hf_config
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


def pick_device() -> torch.device:
    """The first CUDA device that this process may use, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder."""
    return AutoTokenizer.from_pretrained(folder)


def vocabulary(tokenizer: PreTrainedTokenizerBase, d_vocab: int) -> list[str]:
    """The text of every token id that the model can say; ids beyond the tokenizer's are empty."""
    return [str(tokenizer.decode([token])) for token in range(d_vocab)]


def load_causal_lm(folder: Path, device: torch.device | None = None) -> PreTrainedModel:
    """The plain Hugging Face model in float32 on `device`, in evaluation mode and without gradients."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False).to(device or pick_device())


def load_bridge(folder: Path, device: torch.device | None = None) -> TransformerBridge:
    """The model as a `TransformerBridge` with `HookedTransformer`'s default weight processing, in float32.

    LayerNorm gains are folded into the following weights, weights that write to the residual stream and the
    unembedding are centred, and value biases are folded into the output bias: the coordinates in which the
    paper's memories and head outputs are defined (section 3).
    """
    bridge = TransformerBridge.boot_transformers(str(folder), device=device or pick_device(), dtype=torch.float32)
    bridge.enable_compatibility_mode(disable_warnings=True)
    return bridge.eval()


class Components:
    """Where the parts of a plain Hugging Face model are, as TransformerLens' architecture adapter has it."""

    def __init__(self, model: PreTrainedModel) -> None:
        config = build_bridge_config_from_hf(
            model.config, determine_architecture_from_hf_config(model.config), model.name_or_path or "", model.dtype
        )
        adapter = ArchitectureAdapterFactory.select_architecture_adapter(config)
        names = adapter.get_component_mapping()
        self.blocks = list(model.get_submodule(str(names["blocks"].name)).children())
        attention = str(names["blocks"].submodules["attn"].name)
        self.attention = [block.get_submodule(attention) for block in self.blocks]
        self.unembed = model.get_submodule(str(names["unembed"].name))
