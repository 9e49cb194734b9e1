"""Which device a job computes on: jobs that run side by side on one host take different GPUs.

A job holds a GPU by the lock on a file named after it; the operating system lets go of it when the job ends,
however it ends.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from .demands import gpus_needed
from .errors import StudyError
from .files import logger

POLL_SECONDS = 1.0


@contextmanager
def leased(names: Sequence[str], count: int, folder: Path | None = None) -> Iterator[list[int]]:
    """Hold `count` of the named things that no other process of this host holds; waits until there are as many.

    Yields their indices in `names`.
    """
    folder = folder or Path(tempfile.gettempdir())
    locks = [FileLock(folder / f"memory-injections-{name}.lock", mode=0o666) for name in names]
    with ExitStack() as stack:
        waited = False
        while True:
            held = [index for index, lock in enumerate(locks) if _taken(lock)][:count]
            for index, lock in enumerate(locks):
                if index not in held or len(held) < count:
                    lock.release()
            if len(held) == count:
                break
            if not waited:
                logger.info("waiting for %d free of %s", count, ", ".join(names))
                waited = True
            time.sleep(POLL_SECONDS)
        for index in held:
            stack.callback(locks[index].release)
        yield held


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


@contextmanager
def devices_for(model_bytes: int) -> Iterator[list[torch.device]]:
    """Hold the devices that a model of this size needs: one GPU, several if one is too small, or else the CPU.

    Raises `StudyError` if the model does not fit into all GPUs together.
    """
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not gpus:
        yield [torch.device("cpu")]
        return
    needed = gpus_needed(model_bytes, min(gpu.total_memory for gpu in gpus))
    if needed > len(gpus):
        raise StudyError(
            f"the model's {model_bytes / 2**30:.0f} GiB need {needed} GPUs like this one, but there are {len(gpus)}; "
            "use precision: bfloat16, a smaller model, or a larger machine"
        )
    with leased([str(gpu.uuid) for gpu in gpus], needed) as held:
        torch.cuda.set_device(held[0])
        logger.info("computing on %s", ", ".join(f"GPU {index} ({gpus[index].name})" for index in held))
        yield [torch.device("cuda", index) for index in held]


def upload(values: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, without waiting for the work that is under way there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
