"""Devices of jobs: jobs that run at the same time on one host take different GPUs.

A job holds a GPU by a lock on a file named after it. The operating system releases the lock when the job ends, however
it ends.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from memory_injections.errors import StudyError
from memory_injections.models.checkpoints import read_manifest
from memory_injections.models.limits import limit_gpu_memory
from memory_injections.models.sizes import ModelSize, count_gpus
from memory_injections.terms import Precision

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0


@contextmanager
def reserve_free(names: Sequence[str], count: int, folder: Path | None = None) -> Iterator[list[int]]:
    """Hold `count` of the named resources, which no other process of this host holds; wait until there are enough.

    Yields their indices in `names`.
    """
    folder = folder or Path(tempfile.gettempdir())
    locks = [FileLock(folder / f"memory-injections-{name}.lock", mode=0o666) for name in names]
    with ExitStack() as stack:
        waited = False
        while True:
            held: list[int] = []
            for index, lock in enumerate(locks):
                if len(held) < count:
                    with suppress(Timeout):
                        lock.acquire(timeout=0)
                        held.append(index)
            if len(held) == count:
                break
            for index in held:
                locks[index].release()
            if not waited:
                logger.info("waiting for %d free of %s", count, ", ".join(names))
                waited = True
            time.sleep(POLL_SECONDS)
        for index in held:
            stack.callback(locks[index].release)
        yield held


@contextmanager
def reserve_devices(model_bytes: int) -> Iterator[list[torch.device]]:
    """Hold the devices that a model of this size needs: one GPU, several if one is too small, or else the CPU.

    Raises `StudyError` if the model does not fit into all GPUs together.
    """
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not gpus:
        yield [torch.device("cpu")]
        return
    needed = count_gpus(model_bytes, min(limit_gpu_memory(gpu.total_memory) for gpu in gpus))
    if needed > len(gpus):
        raise StudyError(
            f"the model's {model_bytes / 2**30:.0f} GiB need {needed} GPUs like this one, but there are {len(gpus)}; "
            "use precision: bfloat16, a smaller model, or a larger machine"
        )
    with reserve_free([str(gpu.uuid) for gpu in gpus], needed) as held:
        torch.cuda.set_device(held[0])
        logger.info("computing on %s", ", ".join(f"GPU {index} ({gpus[index].name})" for index in held))
        yield [torch.device("cuda", index) for index in held]


def reserve_devices_for(
    manifest: str, precision: Precision = "float32", copies: int = 1
) -> AbstractContextManager[list[torch.device]]:
    """Hold the devices that some copies of a model's weights need."""
    size = ModelSize.from_manifest(read_manifest(manifest))
    return reserve_devices(copies * size.weight_bytes(precision))
