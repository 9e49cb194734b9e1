"""Devices of jobs: jobs that run at the same time on one host share its GPUs by memory.

A GPU is divided into equal shares, each of which is a lock on a file. A job holds as many as its model and a full batch
need, and is kept from taking more. The operating system releases the locks when the job ends, however it ends.
"""

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
# Shares that a GPU is divided into.
SHARES = 16
# What a job takes of a GPU beside its model: its largest batches, and CUDA's own part, which PyTorch does not count.
WORKING_BYTES, CONTEXT_BYTES = 16 * 2**30, 2**30


@contextmanager
def reserve_shares(
    names: Sequence[str], n_devices: int, n_shares: int, folder: Path | None = None
) -> Iterator[list[int]]:
    """Hold `n_shares` of each of `n_devices` of the named devices, those with the most shares free; wait until it can.

    Yields their indices in `names`.
    """
    folder = folder or Path(tempfile.gettempdir())
    guard = _create_lock(folder, "guard")
    locks = [[_create_lock(folder, f"{name}.{share}") for share in range(SHARES)] for name in names]
    waited = False
    while True:
        with guard:  # or two jobs could hold a part each of what both need
            free = [[lock for lock in shares if _try(lock)] for shares in locks]
            by_free = sorted(range(len(names)), key=lambda index: -len(free[index]))
            taken = sorted(index for index in by_free[:n_devices] if len(free[index]) >= n_shares)
            held = [lock for index in taken for lock in free[index][:n_shares]] if len(taken) == n_devices else []
            for lock in (lock for shares in free for lock in shares if lock not in held):
                lock.release()
        if held:
            break
        if not waited:
            logger.info("waiting for %d of %d shares of %d of %s", n_shares, SHARES, n_devices, ", ".join(names))
            waited = True
        time.sleep(POLL_SECONDS)
    with ExitStack() as stack:
        for lock in held:
            stack.callback(lock.release)
        yield taken


def _create_lock(folder: Path, name: str) -> FileLock:
    return FileLock(folder / f"memory-injections-{name}.lock", mode=0o666)


def _try(lock: FileLock) -> bool:
    """Acquire a lock that nobody holds; return whether that is so."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


@contextmanager
def reserve_devices(model_bytes: int) -> Iterator[list[torch.device]]:
    """Hold the devices that a model of this size needs: a part of a GPU, several GPUs if one is too small, or the CPU.

    Of a GPU that others may share, this process can take its part only. Raises `StudyError` if the model does not fit
    into all GPUs together.
    """
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not gpus:
        yield [torch.device("cpu")]
        return
    smallest = min(limit_gpu_memory(gpu.total_memory) for gpu in gpus)
    needed = count_gpus(model_bytes, smallest)
    if needed > len(gpus):
        raise StudyError(
            f"the model's {model_bytes / 2**30:.0f} GiB need {needed} GPUs like this one, but there are {len(gpus)}; "
            "use precision: bfloat16, a smaller model, or a larger machine"
        )
    n_shares = SHARES if needed > 1 else count_shares(model_bytes, smallest)
    with reserve_shares([str(gpu.uuid) for gpu in gpus], needed, n_shares) as held:
        torch.cuda.set_device(held[0])
        if n_shares < SHARES:
            total = gpus[held[0]].total_memory
            allowed = n_shares * smallest // SHARES - CONTEXT_BYTES
            torch.cuda.set_per_process_memory_fraction(allowed / total, held[0])
        logger.info(
            "computing on %d of %d shares of %s", n_shares, SHARES,
            ", ".join(f"GPU {index} ({gpus[index].name})" for index in held),
        )  # fmt: skip
        yield [torch.device("cuda", index) for index in held]


def count_shares(model_bytes: int, gpu_bytes: int) -> int:
    """Return how many shares of a GPU a job with a model of this size holds."""
    needed = model_bytes + WORKING_BYTES + CONTEXT_BYTES
    return min(SHARES, math.ceil(SHARES * needed / gpu_bytes))


def reserve_devices_for(
    manifest: str, precision: Precision = "float32", copies: int = 1
) -> AbstractContextManager[list[torch.device]]:
    """Hold the devices that some copies of a model's weights need."""
    size = ModelSize.from_manifest(read_manifest(manifest))
    return reserve_devices(copies * size.weight_bytes(precision))
