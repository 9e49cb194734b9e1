"""The identity of a sweep, and the one way to a path and back."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from memory_injections.terms import RELATIVE


@dataclass(frozen=True, order=True)
class SweepId:
    """Which sweep it is. Every table of cells has these fields as columns.

    `memories` are the kind of memory, and `relative` says whether magnitudes are doses relative to the residual stream.
    """

    model: str
    dataset: str
    memories: str
    encoding: str
    relative: bool = False

    @property
    def coding(self) -> str:
        """The encoding as it stands in paths: `unembed`, or `unembed_relative` with relative doses."""
        return self.encoding + RELATIVE * self.relative

    @property
    def path(self) -> str:
        """The path of its files without an ending: `model/dataset/memories.coding`."""
        return f"{self.model}/{self.dataset}/{self.memories}.{self.coding}"

    @property
    def file_stem(self) -> str:
        """`model.dataset.memories.coding`: its part of the name of a file in a folder of many."""
        return f"{self.model}.{self.dataset}.{self.memories}.{self.coding}"

    @classmethod
    def from_path(cls, path: str) -> "SweepId":
        """Return the sweep of a `path`."""
        model, dataset, sweep = path.split("/")
        return cls.parse(model, dataset, *sweep.rsplit(".", 1))

    @classmethod
    def parse(cls, model: str, dataset: str, memories: str, coding: str) -> "SweepId":
        """Return the sweep of the parts of a path."""
        return cls(model, dataset, memories, coding.removesuffix(RELATIVE), coding.endswith(RELATIVE))

    @property
    def dose_name(self) -> str:
        """What its column `magnitude` holds: a magnitude, or a dose relative to the residual stream."""
        return "dose" if self.relative else "magnitude"

    @property
    def columns(self) -> dict[str, Any]:
        """The fields by name, as columns for a table."""
        return asdict(self)


ID_COLUMNS = [field.name for field in fields(SweepId)]


def find_other_memories(sweeps: Collection[SweepId]) -> dict[SweepId, list[SweepId]]:
    """Return for each sweep those that differ from it in their memories only, sorted."""
    alike: dict[SweepId, list[SweepId]] = defaultdict(list)
    for sweep in sorted(sweeps):
        alike[replace(sweep, memories="")].append(sweep)
    return {sweep: [other for other in alike[replace(sweep, memories="")] if other != sweep] for sweep in sweeps}
