"""Models of jobs: each is on devices that no other job uses meanwhile."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.jobs.gpus import reserve_devices
from memory_injections.models.checkpoints import read_manifest
from memory_injections.models.sizes import ModelSize
from memory_injections.terms import Precision


def reserve_devices_for(
    manifest: str, precision: Precision = "float32", copies: int = 1
) -> AbstractContextManager[list[torch.device]]:
    """Hold the devices that some copies of a model's weights need."""
    size = ModelSize.from_manifest(read_manifest(manifest))
    return reserve_devices(copies * size.weight_bytes(precision))


@contextmanager
def load_on_reserved_devices(
    checkpoint: str, manifest: str, processed: str, precision: Precision
) -> Iterator[LoadedModel]:
    """Load a model from its files, and hold the devices that it is on for the block."""
    with reserve_devices_for(manifest, precision) as devices:
        yield LoadedModel.load(Path(checkpoint), Path(manifest), Path(processed), devices, precision)
