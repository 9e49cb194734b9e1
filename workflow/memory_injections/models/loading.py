"""Loading a model from a folder in Hugging Face format, in the two forms the study needs.

The *bridge* (TransformerLens, weights processed as `HookedTransformer` did) is where activations are read and
where memories get their coordinates. The *causal LM* (plain Hugging Face blocks, fused attention) is where the
many injected forward passes run; TransformerLens' architecture adapters say where its parts are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf
from transformer_lens.model_bridge.sources.transformers import determine_architecture_from_hf_config
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation

from memory_injections.models.sizes import ModelSize
from memory_injections.terms import Precision


def load_causal_lm(folder: Path, devices: Sequence[torch.device], precision: Precision = "float32") -> PreTrainedModel:
    """Load the plain Hugging Face model, in evaluation mode and without gradients, on one or several devices.

    `float32` is exact; `tf32` rounds the factors of matrix products to 10 bits of mantissa (on GPUs that can, for
    the whole process); `bfloat16` holds weights and activations in that type.
    """
    placement = _place_model(devices)
    device = placement.pop("device", None)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=set_precision(precision), **placement)
    return fuse_activations((model.to(device) if device else model).eval().requires_grad_(False))


def set_precision(precision: Precision) -> torch.dtype:
    """Set how this process multiplies matrices in float32, and return the type that a model's weights are held in."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _place_model(devices: Sequence[torch.device]) -> dict[str, Any]:
    """Return transformers' arguments for one device, or for a device map that spreads the blocks over several GPUs."""
    if len(devices) == 1:
        return {"device": devices[0]}
    memory = {device.index: torch.cuda.mem_get_info(device)[0] for device in devices}
    return {"device_map": "balanced", "max_memory": memory}


def fuse_activations(model: PreTrainedModel) -> PreTrainedModel:
    """Replace the activation function of GPT-2 and its kin by a fused one: one kernel instead of eight."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())
    return model


def load_bridge(folder: Path, devices: Sequence[torch.device]) -> TransformerBridge:
    """Load the model as a `TransformerBridge` with `HookedTransformer`'s default weight processing, in float32.

    LayerNorm gains are folded into the following weights, weights that write to the residual stream and the
    unembedding are centred, and value biases are folded into the output bias: the coordinates in which the
    paper's memories and head outputs are defined (section 3).
    """
    bridge = TransformerBridge.boot_transformers(str(folder), dtype=torch.float32, **_place_model(devices))
    bridge.enable_compatibility_mode(disable_warnings=True)
    return bridge.eval()


class Components:
    """The parts of a plain Hugging Face model, found by TransformerLens' architecture adapter.

    `last_writers` are the modules of the last block that write into its residual stream: its attention's output
    matrix and its MLP.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        config = build_bridge_config_from_hf(
            model.config, determine_architecture_from_hf_config(model.config), model.name_or_path or "", model.dtype
        )
        names = ArchitectureAdapterFactory.select_architecture_adapter(config).get_component_mapping()
        block, attention = names["blocks"], names["blocks"].submodules["attn"]
        self.blocks = list(model.get_submodule(str(block.name)).children())
        self.attention = [_get_part(parent, attention) for parent in self.blocks]
        self.last_writers = [
            _get_part(self.attention[-1], attention.submodules["o"]),
            _get_part(self.blocks[-1], block.submodules["mlp"]),
        ]
        self.unembed = cast(nn.Linear, _get_part(model, names["unembed"]))


def _get_part(parent: nn.Module, component: GeneralizedComponent) -> nn.Module:
    return parent.get_submodule(str(component.name))


def build_without_weights(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the model of a configuration with all parts and shapes, but without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def measure_model(config: PreTrainedConfig) -> ModelSize:
    """Count the weights of the model that a configuration describes."""
    model = build_without_weights(config)
    components = Components(model)
    attention, writing = _count_weights(components.attention[-1]), _count_weights(components.last_writers[0])
    return ModelSize(
        n_layers=len(components.blocks),
        n_heads=config.num_attention_heads,
        d_model=config.hidden_size,
        d_vocab=components.unembed.weight.shape[0],
        n_parameters=model.num_parameters(),
        reading=attention - writing,
        writing=writing,
        mlp=_count_weights(components.blocks[-1]) - attention,
    )


def _count_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)
