"""Models of jobs, on devices that no other job has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.jobs.gpus import reserve_devices_for
from memory_injections.terms import Precision


@contextmanager
def load_on_reserved_devices(
    checkpoint: str, manifest: str, processed: str, precision: Precision
) -> Iterator[LoadedModel]:
    """Load a model from its files, and hold the devices that it is on for the block."""
    with reserve_devices_for(manifest, precision) as devices:
        yield LoadedModel.load(Path(checkpoint), Path(manifest), Path(processed), devices, precision)
