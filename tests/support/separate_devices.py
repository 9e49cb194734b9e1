"""Several devices on a machine that has a CPU only: tensors that are each on one of them, and refuse to mix.

PyTorch computes on the CPU as always. The memory of a tensor has the name of a made-up device, moving the tensor copies
it, and an operation on tensors of several devices raises the error that PyTorch raises for GPUs.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from accelerate import dispatch_model
from memory_injections.models.loading import spread_parts
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

CPU = torch.device("cpu")
# PyTorch knows the name of this type, and nothing asks for it.
DEVICES = [torch.device("maia", index) for index in range(2)]
# Functions with indices, and those that copy from any device.
INDEXING = ("__getitem__", "index_select")
COPYING = ("__setitem__", "copy_")


class SeparateDevices(TorchFunctionMode):
    """Within the block, every tensor is on one device, and operations take tensors of one device only."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one of PyTorch's functions, and put what it returns on the device that PyTorch would."""
        name, kwargs = func.__name__, dict(kwargs or {})
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return get_device(args[0])
        if name in ("to", "cpu"):
            return _move(func, args, kwargs)
        if name == "histc":  # experts are counted in whole numbers on a GPU, which a CPU cannot do
            func = _count_floats
        asked = kwargs.pop("device", None)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = _check_together(name, given)
        results = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
        put_on(made, torch.device(asked) if asked is not None else device)
        return results


def get_device(tensor: Tensor) -> torch.device:
    """Return the made-up device that a tensor is on."""
    return getattr(tensor.untyped_storage(), "made_up_device", CPU)


def put_on(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Say that tensors are on a made-up device."""
    for tensor in tensors:
        tensor.untyped_storage().made_up_device = device  # type: ignore[attr-defined]


def _move(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return a tensor on the device, and in the type, that `to` or `cpu` asks for."""
    tensor, *wanted = args
    device = CPU if func is Tensor.cpu else get_device(tensor)
    for value in [kwargs.pop("device", None), *wanted]:
        if isinstance(value, Tensor):
            device = get_device(value)
        elif isinstance(value, str | torch.device):
            device = torch.device(value)
    types = [value.dtype if isinstance(value, Tensor) else value for value in wanted]
    dtype = next((value for value in types if isinstance(value, torch.dtype)), tensor.dtype)
    moved = tensor.to(**{"dtype": dtype} | kwargs)
    if moved is tensor and device == get_device(tensor):
        return tensor
    moved = moved.clone() if moved is tensor else moved
    put_on([moved], device)
    return moved


def _count_floats(values: Tensor, **kwargs: Any) -> Tensor:
    return torch.histc(values.float(), **kwargs)


def _check_together(name: str, given: list[Tensor]) -> torch.device:
    """Return the device that tensors are on together; raise `RuntimeError` if there are several."""
    if name in COPYING and given:
        return get_device(given[0])
    devices = {get_device(tensor) for tensor in given if not _is_free(name, tensor, given)}
    if len(devices) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} found {devices}")
    return devices.pop() if devices else CPU


def _is_free(name: str, tensor: Tensor, given: list[Tensor]) -> bool:
    """Return whether a tensor may be on the CPU whatever the others are on: a number, or an index."""
    return get_device(tensor) == CPU and (tensor.ndim == 0 or (name in INDEXING and tensor is not given[0]))


def spread_model(model: PreTrainedModel) -> PreTrainedModel:
    """Spread a model over two devices as over two GPUs."""
    placed = {path: DEVICES[index] for path, index in spread_parts(model, len(DEVICES)).items()}
    for path, device in placed.items():
        part = model.get_submodule(path)
        put_on([*part.parameters(), *part.buffers()], device)
    return dispatch_model(model, placed, main_device=DEVICES[0], skip_keys=model._skip_keys_device_placement)
