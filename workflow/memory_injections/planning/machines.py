"""Machines that jobs are planned for, and the file of what is known of them, of models and of data sets.

Of a machine, it is how fast the engine computes there, and how large the GPUs are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from yaml import safe_load

from memory_injections.errors import StudyError
from memory_injections.models.sizes import GIB
from memory_injections.terms import Precision

_FILE = files("memory_injections.planning") / "known.yaml"
# The engine's share of the rate of large matrix products, as docs/engine.md has it from an H100 and from two cores.
SHARE: Mapping[str, Mapping[Precision, float]] = {
    "cuda": {"float32": 0.87, "tf32": 0.50, "bfloat16": 0.51},
    "cpu": {"float32": 0.75, "tf32": 0.75},
}


@cache
def read_known() -> dict[str, Any]:
    """The known `models`, `datasets` and `machines`, each by its name."""
    return safe_load(_FILE.read_text(encoding="utf-8"))


def locate_known() -> str:
    """Where the file lies that `read_known` reads, from the current folder if it lies below."""
    path = Path(str(_FILE))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


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
