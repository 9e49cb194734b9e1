"""What a study can be asked for by name: declarations of this package, and of installed ones that add to them.

A package adds its own by an entry point in the group `memory_injections`: a module that registers things as this
package's modules do, and is imported before anything is looked up.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar

from memory_injections.errors import StudyError

GROUP = "memory_injections"


class Declaration(Protocol):
    """Something with the name by which a config asks for it, and a label in words."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...


Declared = TypeVar("Declared", bound=Declaration)


class Registry(Mapping[str, Declared]):
    """Declarations of one kind by their names, in the order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._declared: dict[str, Declared] = {}

    def register(self, declaration: Declared) -> None:
        """Add a declaration; raise `ValueError` if there is one of this name already."""
        if declaration.name in self._declared:
            raise ValueError(f"the {self.kind} {declaration.name!r} is registered twice; rename one of them")
        self._declared[declaration.name] = declaration

    def check(self, name: str) -> None:
        """Raise `StudyError` for a name that nothing is registered by."""
        if name not in self:
            raise StudyError(f"{self.kind} {name!r} is unknown; use one of {', '.join(self)}")

    def __getitem__(self, name: str) -> Declared:
        self.check(name)
        return self._declared[name]

    def __contains__(self, name: object) -> bool:
        load_extensions()
        return name in self._declared

    def __iter__(self) -> Iterator[str]:
        load_extensions()
        return iter(self._declared)

    def __len__(self) -> int:
        load_extensions()
        return len(self._declared)


def list_extensions() -> list[EntryPoint]:
    """List the modules of installed packages that add to the registries, in the order of their names."""
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


@cache
def load_extensions() -> None:
    """Import what installed packages add; raise `StudyError` for a module that cannot be imported."""
    for point in list_extensions():
        try:
            point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise StudyError(f"the installed extension {point.name} ({point.value}) fails ({reason})") from error
