"""Models of jobs: each is loaded on devices that no other job uses meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.jobs.gpus import hold_devices
from memory_injections.models.checkpoints import read_manifest
from memory_injections.models.sizes import ModelSize
from memory_injections.terms import Precision


@contextmanager
def hold_loaded_model(checkpoint: str, manifest: str, lens: str, precision: Precision) -> Iterator[LoadedModel]:
    """Load a model from its files, and hold the devices that it is on for the block."""
    size = ModelSize.from_manifest(read_manifest(manifest))
    with hold_devices(size.weight_bytes(precision)) as devices:
        yield LoadedModel.load(Path(checkpoint), Path(manifest), Path(lens), devices, precision)
