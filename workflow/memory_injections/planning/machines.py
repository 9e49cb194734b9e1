"""Machines that jobs are planned for: how fast the engine computes on them, and how large their GPUs are."""

from collections.abc import Mapping
from dataclasses import dataclass

from memory_injections.errors import StudyError
from memory_injections.models.sizes import GIB
from memory_injections.planning.known import locate_known, read_known
from memory_injections.terms import Precision

# The engine's share of the rate of large matrix products, as docs/engine.md has it from an H100 and from two cores.
SHARE: Mapping[str, Mapping[Precision, float]] = {
    "cuda": {"float32": 0.87, "tf32": 0.50, "bfloat16": 0.51},
    "cpu": {"float32": 0.75, "tf32": 0.75},
}


class UnknownRateError(StudyError):
    """A precision in which a machine's rate is not known."""


@dataclass(frozen=True)
class Machine:
    """A kind of GPU and the bytes of its memory, or a CPU, which has none; `rates` are the engine's FLOP/s.

    `origin` says where the rates come from.
    """

    name: str
    rates: Mapping[Precision, float]
    gpu_bytes: float
    origin: str

    @property
    def device(self) -> str:
        """The type of device, as torch calls it."""
        return "cuda" if self.gpu_bytes else "cpu"

    def rate(self, precision: Precision) -> float:
        """FLOP/s of the engine; raises `UnknownRateError` for a precision in which it is not known."""
        if precision not in self.rates:
            raise UnknownRateError(f"no rate of {precision} is known for {self.name}; known: {', '.join(self.rates)}")
        return self.rates[precision]


def find_machine(name: str) -> Machine:
    """The known machine of that name; raises `StudyError` if there is none."""
    machines = read_known()["machines"]
    if name not in machines:
        raise StudyError(f"no GPU {name!r} is known; known: {', '.join(machines)} ({locate_known()})")
    entry = machines[name]
    share = SHARE["cuda" if entry["gib"] else "cpu"]
    rates = {precision: 1e12 * products * share[precision] for precision, products in entry["products"].items()}
    return Machine(name, rates, GIB * entry["gib"], entry["rates"])
