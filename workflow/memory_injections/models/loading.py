"""Loading a model from a folder in Hugging Face format, in the two forms the study needs.

The *bridge* (TransformerLens, weights processed as `HookedTransformer` did) is where activations are read and
where memories get their coordinates. The *causal LM* (plain Hugging Face blocks, fused attention) is where the
many injected forward passes run; TransformerLens' architecture adapters say where its parts are.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation

from memory_injections.errors import StudyError, UnsupportedArchitectureError
from memory_injections.models.sizes import ModelSize
from memory_injections.terms import Precision

# TransformerLens takes seconds to import, and a model whose parts are known can do without it.
if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

# Masks and tables that old versions of transformers saved among the weights, and that are computed now.
COMPUTED = re.compile(r"(?:^|\.)(?:(?:attn|attention)\.(?:bias|masked_bias|causal_mask)|inv_freq|position_ids)$")
# What a model folder holds must never run as code.
DATA_ONLY: Mapping[str, bool] = {"trust_remote_code": False, "use_safetensors": True}


def load_causal_lm(folder: Path, devices: Sequence[torch.device], precision: Precision = "float32") -> PreTrainedModel:
    """Load the plain Hugging Face model, in evaluation mode and without gradients, on one or several devices.

    `float32` is exact; `tf32` rounds the factors of matrix products to 10 bits of mantissa (on GPUs that can, for
    the whole process); `bfloat16` holds weights and activations in that type. Raises `StudyError` if the folder cannot
    be loaded, and for weights that are missing, unknown, not of the configuration's shape, or not finite.
    """
    with refusing_failures(folder):
        placement = _place_model(folder, devices)
        device = placement.pop("device", None)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=set_precision(precision),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them
            **DATA_ONLY,
            **placement,
        )
    model, report = loaded
    check_loaded_weights(model, report, folder)
    copy_weights(model)
    return fuse_activations((model.to(device) if device else model).eval().requires_grad_(False))


@contextmanager
def translating_failures(translate: Callable[[str, str], StudyError]) -> Iterator[None]:
    """Raise the error that `translate` makes of the name and message of whatever a library raises in the block.

    A `StudyError` and a lack of memory pass as they are.
    """
    try:
        yield
    except (StudyError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())[:200].rstrip(".")
        raise translate(type(error).__name__, message) from error


def refusing_failures(folder: Path) -> AbstractContextManager[None]:
    """Turn whatever transformers raises about a model folder into a `StudyError`, other than a lack of memory."""
    return translating_failures(
        lambda name, message: StudyError(
            f"the model in {folder} cannot be loaded ({name}: {message}); save it again with `save_pretrained`, or "
            "fetch the whole repository"
        )
    )


def check_loaded_weights(model: PreTrainedModel, report: Mapping[str, Any], folder: Path) -> None:
    """Raise `StudyError` for weights that a folder lacks, or has too many, in other shapes or with values not finite.

    transformers would fill gaps with random numbers, and says so in its `report` only.
    """
    faults = {
        "lacks the weights": sorted(report["missing_keys"]),
        "has weights that its config.json has no place for,": sorted(
            key for key in report["unexpected_keys"] if not COMPUTED.search(key)
        ),
        "has weights of other shapes than its config.json says,": sorted(
            f"{name} {list(found)} for {list(expected)}" for name, found, expected in report["mismatched_keys"]
        ),
    }
    if not any(faults.values()):
        faults["has weights that are not finite,"] = [
            name for name, weights in model.named_parameters() if not torch.stack(weights.aminmax()).isfinite().all()
        ]
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise StudyError(f"the model in {folder} {fault} {', '.join(names[:3])}{more}; save the whole model again")


def copy_weights(model: nn.Module, files: Collection[int] | None = None) -> None:
    """Copy weights on the CPU into memory: until then they are mapped from their file, and change with it.

    `files` are the addresses of the storages that are files (`find_storages`); by default, all are.
    """
    for weights in model.parameters():
        if weights.device.type == "cpu" and (files is None or weights.untyped_storage().data_ptr() in files):
            weights.data = weights.data.clone()


def find_storages(model: nn.Module) -> set[int]:
    """Return the addresses of the storages that hold a model's weights."""
    return {weights.untyped_storage().data_ptr() for weights in model.parameters()}


def set_precision(precision: Precision) -> torch.dtype:
    """Set how this process multiplies matrices in float32, and return the type that a model's weights are held in."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _place_model(folder: Path, devices: Sequence[torch.device]) -> dict[str, Any]:
    """Return transformers' arguments for one device, or for a device map that spreads the blocks over several GPUs."""
    if len(devices) == 1:
        return {"device": devices[0]}
    model = build_without_weights(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    return {"device_map": {path: devices[n].index for path, n in spread_parts(model, len(devices)).items()}}


def spread_parts(model: PreTrainedModel, n_devices: int) -> dict[str, int]:
    """Return which of several devices each part of a model goes to: whole blocks, about as many weights on each.

    The first blocks go to the last device. The parts before and behind all blocks go to the first, where the last block
    is: embedding and unembedding may be one matrix, and weight processing folds the final norm into it. The model may
    be without weights.
    """
    blocks = Components(model).parts.blocks
    placed, done, share = {}, 0, model.num_parameters() / n_devices
    for name, block in model.get_submodule(blocks).named_children():
        placed[f"{blocks}.{name}"] = max(0, n_devices - 1 - int(done / share))
        done += sum(weights.numel() for weights in block.parameters())
    placed[f"{blocks}.{name}"] = 0
    return placed | dict.fromkeys(_list_outside(model, blocks), 0)


def _list_outside(model: nn.Module, blocks: str) -> Iterator[str]:
    """List the parts of a model that are not blocks and do not hold them, by their paths."""
    holders = {".".join(blocks.split(".")[:depth]) for depth in range(blocks.count(".") + 2)}
    for name, _ in [*model.named_modules(), *model.named_parameters()]:
        if name not in holders and name.rpartition(".")[0] in holders - {blocks}:
            yield name


def stack_blocks(
    values: Iterable[Float[Tensor, "*rest"]], device: torch.device, dim: int = 0
) -> Float[Tensor, "*rest_and_block"]:
    """Stack a value of each block in float32 along a new dimension, on one device."""
    return torch.stack([value.float().to(device) for value in values], dim=dim)


def fuse_activations(model: PreTrainedModel) -> PreTrainedModel:
    """Replace the activation function of GPT-2 and its kin by a fused one: one kernel instead of eight."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())
    return model


def load_bridge(folder: Path, devices: Sequence[torch.device]) -> "TransformerBridge":
    """Load the model as a `TransformerBridge` with `HookedTransformer`'s default weight processing, in float32.

    LayerNorm gains are folded into the following weights, weights that write to the residual stream and the
    unembedding are centred, and value biases are folded into the output bias: the coordinates in which the
    paper's memories and head outputs are defined (section 3).
    """
    from transformer_lens.model_bridge import TransformerBridge

    placement = _place_model(folder, devices)
    bridge = TransformerBridge.boot_transformers(str(folder), dtype=torch.float32, **placement)
    files = find_storages(bridge)
    bridge.enable_compatibility_mode(disable_warnings=True)
    copy_weights(bridge, files)  # the processing replaces most weights
    return bridge.eval()


@dataclass(frozen=True)
class ModelParts:
    """Where the parts of a plain Hugging Face model are, as paths of modules.

    `attention` and `attn_out` are paths within each of the `blocks`, `last_writers` paths within the last. See
    `Components`.
    """

    blocks: str
    attention: str
    attn_out: str
    attn_scale: float
    last_writers: Sequence[str]
    unembed: str
    final_norm: str | None

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "ModelParts":
        """The parts that a model's manifest records."""
        return cls(**manifest["parts"])


class Components:
    """The parts of a plain Hugging Face model, found by TransformerLens' architecture adapter unless they are known.

    Each of the `blocks` has in `attention` the module that computes its attention. What this adds to the residual
    stream, TransformerLens' `blocks.l.hook_attn_out`, is the output of the block's module in `attn_out` times
    `attn_scale`: of the attention itself, of a norm behind it, or of a matrix within it.

    `last_writers` are the modules of the last block that its attention and its MLP write through, as far as the
    adapter names them. `final_norm` is the norm before the unembedding, None in a model without one. Raises
    `UnsupportedArchitectureError` for a model that is not a stack of such blocks.
    """

    def __init__(self, model: PreTrainedModel, parts: ModelParts | None = None) -> None:
        self._architecture = type(model).__name__
        self.parts = parts = parts or self._find_parts(model)
        self.blocks = list(self._get_part(model, parts.blocks).children())
        self.attention = [self._get_part(block, parts.attention) for block in self.blocks]
        self.attn_out = [self._get_part(block, parts.attn_out) for block in self.blocks]
        self.attn_scale = parts.attn_scale
        self.last_writers = [self._get_part(self.blocks[-1], path) for path in parts.last_writers]
        self.unembed = cast(nn.Linear, self._get_part(model, parts.unembed))
        self.final_norm = None if parts.final_norm is None else self._get_part(model, parts.final_norm)
        width = model.config.get_text_config().hidden_size
        if self.unembed.weight.shape[1] != width:
            raise self._refuse(f"its unembedding reads {self.unembed.weight.shape[1]} of {width} dimensions")

    def _find_parts(self, model: PreTrainedModel) -> ModelParts:
        names = self._map_parts(model)
        block = names["blocks"]
        return ModelParts(
            blocks=str(block.name),
            attention=str(block.submodules["attn"].name),
            attn_out=_find_attention_output(block),
            attn_scale=float(getattr(block, "residual_contribution_scale", 1)),
            last_writers=_list_writers(block),
            unembed=str(names["unembed"].name),
            final_norm=str(names["ln_final"].name) if "ln_final" in names else None,
        )

    def _map_parts(self, model: PreTrainedModel) -> "dict[str, GeneralizedComponent]":
        """Return TransformerLens' description of the model's parts by their TransformerLens names."""
        from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
        from transformer_lens.model_bridge.sources import build_bridge_config_from_hf

        name = model.name_or_path or ""
        try:
            config = build_bridge_config_from_hf(model.config, self._architecture, name, model.dtype)
            parts = ArchitectureAdapterFactory.select_architecture_adapter(config).get_component_mapping()
        except ValueError as error:
            raise self._refuse(f"TransformerLens does not map it ({error})") from error
        if not {"blocks", "unembed"} <= parts.keys():
            raise self._refuse("TransformerLens maps it to something else than one stack of blocks")
        if "attn" not in parts["blocks"].submodules:
            raise self._refuse("its blocks have no attention")
        return parts

    def _get_part(self, parent: nn.Module, path: str) -> nn.Module:
        try:
            return parent.get_submodule(path)
        except AttributeError:
            raise self._refuse(f"its {type(parent).__name__} has no {path}") from None

    def _refuse(self, reason: str) -> UnsupportedArchitectureError:
        return UnsupportedArchitectureError(self._architecture, reason)


def _list_writers(block: "GeneralizedComponent") -> list[str]:
    """List the paths within a block whose input may be cut to the last position: attention's matrix and the MLP."""
    attention, mlp = block.submodules["attn"], block.submodules.get("mlp")
    writers = [f"{attention.name}.{part.name}" for part in [attention.submodules.get("o")] if part is not None]
    if mlp is not None:  # without a module of its own, an MLP starts at its first matrix
        part = mlp if mlp.name else mlp.submodules.get("in")
        writers += [str(part.name)] if part is not None else []
    return writers


def _find_attention_output(block: "GeneralizedComponent") -> str:
    """Return the path within a block of the module whose output TransformerLens calls `hook_attn_out`."""
    # Where blocks scale what they add, the hook is a point of its own, without an alias.
    *path, _ = str(block.hook_aliases.get("hook_attn_out", "attn.hook_out")).split(".")
    names = []
    for name in path:
        block = block.submodules[name]
        names.append(str(block.name))
    return ".".join(names)


def build_without_weights(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the model of a configuration with all parts and shapes, but without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def describe_model(config: PreTrainedConfig) -> tuple[ModelSize, ModelParts]:
    """Count the weights of the model that a configuration describes, and find its parts."""
    model = build_without_weights(config)
    components = Components(model)
    config = config.get_text_config()
    n_experts = getattr(config, "num_experts_per_tok", None) or 1
    attention, writing = _count_weights(components.attention[-1]), _count_weights(components.last_writers[0])
    size = ModelSize(
        n_layers=len(components.blocks),
        n_heads=config.num_attention_heads,
        d_model=config.hidden_size,
        d_vocab=components.unembed.weight.shape[0],
        n_parameters=model.num_parameters(),
        reading=attention - writing,
        writing=writing,
        mlp=_count_weights(components.blocks[-1], n_experts) - attention,
    )
    return size, components.parts


def _count_weights(module: nn.Module, n_experts: int = 1) -> int:
    """Count the weights that a token is multiplied by: all matrices, and of stacked ones those of its experts."""
    single = sum(weights.numel() for weights in module.parameters() if weights.ndim == 2)
    stacked = sum(weights[0].numel() for weights in module.parameters() if weights.ndim == 3)
    return single + n_experts * stacked
