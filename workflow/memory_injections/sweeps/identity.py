"""The identity of a sweep (model, data set, kind of memory, encoding), and the one way to a path and back."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

from memory_injections.terms import RELATIVE


@dataclass(frozen=True, order=True)
class SweepId:
    """Which sweep it is. Every table of cells has these fields as columns."""

    model: str
    dataset: str
    memories: str
    encoding: str

    @property
    def path(self) -> str:
        """The path of its files without an ending: `model/dataset/memories.encoding`."""
        return f"{self.model}/{self.dataset}/{self.memories}.{self.encoding}"

    @property
    def file_stem(self) -> str:
        """`model.dataset.memories.encoding`: its part of the name of a file in a folder of many."""
        return f"{self.model}.{self.dataset}.{self.memories}.{self.encoding}"

    @classmethod
    def from_path(cls, path: str) -> "SweepId":
        """Return the sweep of a `path`."""
        model, dataset, sweep = path.split("/")
        return cls(model, dataset, *sweep.rsplit(".", 1))

    @property
    def dose_name(self) -> str:
        """What its column `magnitude` holds: a magnitude, or a dose relative to the residual stream."""
        return "dose" if self.encoding.endswith(RELATIVE) else "magnitude"

    @property
    def columns(self) -> dict[str, str]:
        """The fields by name, as columns for a table."""
        return asdict(self)

    def other_memories(self, sweeps: Iterable["SweepId"]) -> list["SweepId"]:
        """List the sweeps that differ from this one in their memories only."""
        return sorted(sweep for sweep in sweeps if sweep != self and replace(sweep, memories=self.memories) == self)


ID_COLUMNS = [field.name for field in fields(SweepId)]
