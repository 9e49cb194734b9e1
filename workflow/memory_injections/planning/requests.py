"""What a job that holds a model asks a scheduler for: its plan on a reference machine, times a factor, and a margin."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from memory_injections.config.study import Study
from memory_injections.errors import LayerError, TooManyShardsError
from memory_injections.models.sizes import ModelSize
from memory_injections.planning.costs import START_BYTES, START_SECONDS, Costs, Job
from memory_injections.planning.machines import Machine, find_machine
from memory_injections.planning.sizes import DataSize
from memory_injections.terms import Precision

# What requests are planned for: it is not known on which of a cluster's machines a job will run.
REFERENCE_GPU, REFERENCE_CPU = "a100-40", "cpu"
# The plan's memory is close; its time is not, where a machine is a third as fast as the reference.
MEMORY_FACTOR, TIME_FACTOR = 1.25, 3
# For what a plan leaves out, whatever the job: a cold file system, a slow start, the tables under way.
MARGIN_MB, MARGIN_MINUTES = 1000, 15


@dataclass(frozen=True)
class Request:
    """Number of GPUs, MB of host memory and minutes."""

    gpu: int
    mem_mb: int
    runtime: int


class Requests:
    """What a study's jobs ask for, on a cluster whose GPUs have `gpu_mb` of memory each; 0 where there are none."""

    def __init__(self, study: Study, gpu_mb: float) -> None:
        self._costs = Costs(study, choose_reference(gpu_mb))

    def for_processed_weights(self, model: ModelSize) -> Request:
        """What processing a model's weights asks for."""
        return _derive_request(lambda: self._costs.estimate_processed_weights(model))

    def for_activations(self, model: ModelSize, texts: DataSize) -> Request:
        """What recording activations asks for."""
        return _derive_request(lambda: self._costs.estimate_activations(model, texts))

    def for_attribution(self, model: ModelSize, texts: DataSize) -> Request:
        """What reading heads asks for."""
        return _derive_request(lambda: self._costs.estimate_attribution(model, texts))

    def for_cells(self, model: ModelSize, texts: DataSize, shard: int, shards: int) -> Request:
        """What one of the jobs that share out a model's cells asks for."""
        return _derive_request(lambda: self._costs.estimate_cells(model, texts, shard, shards))

    def for_controls(self, model: ModelSize, texts: DataSize) -> Request:
        """What the controls of a model on a data set ask for."""
        return _derive_request(lambda: self._costs.estimate_controls(model, texts))

    def for_mechanisms(self, model: ModelSize, texts: DataSize) -> Request:
        """What looking closely at a model's injections into a data set asks for."""
        return _derive_request(lambda: self._costs.estimate_mechanisms(model, texts))


def choose_reference(gpu_mb: float) -> Machine:
    """The machine that requests are planned for: a GPU with so much memory, or, with none, a CPU.

    It is as slow in every precision as in float32, because not every GPU has a faster one.
    """
    machine = find_machine(REFERENCE_GPU if gpu_mb else REFERENCE_CPU)
    rates = dict.fromkeys(get_args(Precision), machine.rate("float32"))
    return replace(machine, rates=rates, gpu_bytes=1e6 * gpu_mb)


def _derive_request(estimate: Callable[[], Job]) -> Request:
    """What a job asks for, by its plan."""
    try:
        job = estimate()
    except (LayerError, TooManyShardsError):
        # The job ends as soon as it has started and says why, and others go on.
        job = Job(0, 0, 0, START_BYTES, START_SECONDS)
    return Request(
        job.gpus,
        math.ceil(MEMORY_FACTOR * job.host_bytes / 1e6 + MARGIN_MB),
        math.ceil(TIME_FACTOR * job.seconds / 60 + MARGIN_MINUTES),
    )
