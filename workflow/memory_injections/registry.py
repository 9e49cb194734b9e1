"""What a study can be asked for by name: declarations of this package, and of installed ones that add to them.

Figures and tables are read from the syntax of the modules that define them (`read_declarations`), all else is there
once its module is imported (`Registry`). A package adds its own by an entry point in the group `memory_injections`: a
module that registers things as this package's modules do, and is imported before anything is looked up.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from memory_injections.errors import DeclarationError, ExtensionError, UnknownNameError

GROUP = "memory_injections"


class Declaration(Protocol):
    """Something with the name by which a config asks for it, and a label in words."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...


Thing = TypeVar("Thing", bound=Declaration)


class Registry(Mapping[str, Thing]):
    """Declarations of one kind by their names, in the order of registration.

    Names become parts of paths and values of columns; those that match `reserved` mean something else there.
    """

    def __init__(self, kind: str, reserved: str = "") -> None:
        self.kind, self.reserved = kind, reserved
        self._declared: dict[str, Thing] = {}

    def register(self, declaration: Thing) -> None:
        """Add a declaration; raise `DeclarationError` for a name that is taken, reserved or no name."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", declaration.name) or re.fullmatch(self.reserved, declaration.name):
            raise DeclarationError(f"no {self.kind} can be called {declaration.name!r}; choose another name")
        if declaration.name in self._declared:
            raise DeclarationError(f"the {self.kind} {declaration.name!r} is registered twice; rename one of them")
        self._declared[declaration.name] = declaration

    def check(self, name: str) -> None:
        """Raise `UnknownNameError` for a name that nothing is registered by."""
        if name not in self:
            raise UnknownNameError(self.kind, name, self)

    def __getitem__(self, name: str) -> Thing:
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
    """Import what installed packages add; raise `ExtensionError` for a module that cannot be imported."""
    for point in list_extensions():
        try:
            import_module(point.module)
        except ExtensionError:
            raise
        except Exception as error:
            package = point.dist.name if point.dist else point.name
            raise ExtensionError(package, f"{point.name} = {point.value}", error) from error


class Declared(NamedTuple):
    """A function that is declared by a decorator: its name, its module, and what the decorator is given."""

    name: str
    module: str
    arguments: Sequence[Any]
    words: Mapping[str, Any]


def read_declarations(folder: Path, modules: Sequence[str], decorator: str) -> Mapping[str, Declared]:
    """Read the functions under a decorator in some modules, by name, without importing what they import.

    Raises `DeclarationError` for a name that is declared twice.
    """
    found: dict[str, Declared] = {}
    for module in modules:
        body = ast.parse((folder / f"{module}.py").read_text(encoding="utf-8")).body
        for function in (statement for statement in body if isinstance(statement, ast.FunctionDef)):
            for call in function.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == decorator:
                    if function.name in found:
                        raise DeclarationError(f"{function.name} is declared twice in {folder}; rename one of them")
                    words = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
                    found[function.name] = Declared(function.name, module, [*map(ast.literal_eval, call.args)], words)
    return found
