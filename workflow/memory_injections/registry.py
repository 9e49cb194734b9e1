"""What a study can be asked for by name: declarations of this package, and of installed ones that add to them.

Figures and tables are read from the syntax of the modules that define them (`read_declarations`), all else is there
once its module is imported (`Registry`). A package adds its own by an entry point in the group `memory_injections`: a
module that registers things as this package's modules do, and is imported before anything is looked up. Its figures and
tables may be in any of its modules.
"""

import ast
import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from memory_injections.errors import DeclarationError, ExtensionError, UnknownNameError

# The package, and the group of entry points that add to it.
PACKAGE = GROUP = "memory_injections"


class Declaration(Protocol):
    """Something with the name by which a config asks for it, and a label in words."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...


Thing = TypeVar("Thing", bound=Declaration)


def check_new(kind: str, name: str, taken: Container[str], reserved: str = "") -> None:
    """Raise `DeclarationError` for a name that is taken, reserved or no name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or re.fullmatch(reserved, name):
        raise DeclarationError(f"no {kind} can be called {name!r}; choose another name")
    if name in taken:
        raise DeclarationError(f"the {kind} {name!r} is registered twice; rename one of them")


class Registry(Mapping[str, Thing]):
    """Declarations of one kind by their names, in the order of registration.

    Names become parts of paths and values of columns; those that match `reserved` mean something else there.
    """

    def __init__(self, kind: str, reserved: str = "") -> None:
        self.kind, self.reserved = kind, reserved
        self._declared: dict[str, Thing] = {}

    def register(self, declaration: Thing) -> None:
        """Add a declaration; raise `DeclarationError` for a name that is taken, reserved or no name."""
        check_new(self.kind, declaration.name, self._declared, self.reserved)
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


def list_modules(package: str, folder: Path) -> dict[str, Path]:
    """List the modules in the folder of a package by their names."""
    paths = {file: file.relative_to(folder).with_suffix("") for file in folder.rglob("*.py")}
    return {
        ".".join([package, *(part for part in path.parts if part != "__init__")]): file for file, path in paths.items()
    }


@cache
def find_extensions() -> dict[str, Path]:
    """Find all modules of the installed packages that add to this one, by their names."""
    found: dict[str, Path] = {}
    for package in {point.module.partition(".")[0]: None for point in list_extensions()}:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found |= list_modules(package, Path(spec.submodule_search_locations[0]))
        elif spec is not None and spec.origin is not None:
            found[package] = Path(spec.origin)
    return found


@dataclass(frozen=True)
class Declared:
    """A function under a decorator, which is known from its syntax before its module is imported.

    `caption` is the docstring of a function of an installed package; captions of this package are files (None).
    """

    name: str
    module: str
    caption: str | None

    @property
    def code(self) -> str:
        """The name by which digests of code know the function."""
        return f"{self.module.removeprefix(f'{PACKAGE}.')}.{self.name}"

    def load(self) -> Callable[..., Any]:
        """Import the function, and with it what it needs."""
        return getattr(import_module(self.module), self.name)


Kind = TypeVar("Kind", bound=Declared)


def read_declarations(kind: type[Kind], decorator: str, files: Mapping[str, Path]) -> Mapping[str, Kind]:
    """Read the functions under a decorator in modules of this package and in installed ones, by name.

    `kind` is made of what the decorator is given. Raises `DeclarationError`, which says where, for a name that is taken
    or no name, and for what the decorator is given if it is not valid, or not written out.
    """
    found: dict[str, Kind] = {}
    for module, file in {**files, **find_extensions()}.items():
        for function, call in _list_decorated(file, decorator):
            name, text = function.name, ast.get_docstring(function) or ""
            try:
                check_new("function", name, found)
                words = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
                arguments = map(ast.literal_eval, call.args)
                found[name] = kind(name, module, None if module in files else text, *arguments, **words)
            except (DeclarationError, TypeError, ValueError) as error:
                raise DeclarationError(f"@{decorator} of {module}.{name} is not valid ({error}); correct it") from None
    return found


def _list_decorated(file: Path, decorator: str) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Yield the functions of a module under a decorator, with its call."""
    text = file.read_text(encoding="utf-8")
    for function in ast.parse(text).body if decorator in text else ():
        if isinstance(function, ast.FunctionDef):
            for call in function.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == decorator:
                    yield function, call
