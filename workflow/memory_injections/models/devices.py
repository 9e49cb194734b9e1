"""Tensors and the devices that they are on: the blocks of a large model are spread over several GPUs."""

import os
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.errors import StudyError

GPU_MEMORY_VARIABLE = "MEMORY_INJECTIONS_GPU_MB"


def limit_gpu_memory(n_bytes: int) -> int:
    """Return how much of a GPU's memory a job may take: all, or as many MB as the environment variable says.

    Raises `StudyError` if that is no positive whole number.
    """
    limit = os.environ.get(GPU_MEMORY_VARIABLE)
    if not limit:
        return n_bytes
    if not limit.isdecimal() or int(limit) == 0:
        raise StudyError(f"{GPU_MEMORY_VARIABLE}={limit} is no number of MB; set one, such as 40000, or unset it")
    return min(n_bytes, 10**6 * int(limit))


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for the work in progress there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def stack_blocks(
    values: Iterable[Float[Tensor, "*rest"]], device: torch.device, dim: int = 0
) -> Float[Tensor, "*rest_and_block"]:
    """Stack a value of each block in float32 along a new dimension, on one device."""
    return torch.stack([value.float().to(device) for value in values], dim=dim)
