"""Digests of code by its syntax: comments, docstrings and formatting do not count.

From a script, a module, a class or a function, names are followed through this package to their definitions. A function
that is never reached does not count. Of other libraries, the versions of those that determine numbers do.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

NAME = "memory_injections"
PACKAGE = Path(__file__).parents[1]
# Imported name -> distributions whose versions determine numbers, or how figures look.
NUMERICAL = {
    "gguf": ["gguf"],
    "matplotlib": ["matplotlib"],
    "numpy": ["numpy"],
    "pandas": ["pandas"],
    "scipy": ["scipy"],
    "seaborn": ["seaborn"],
    "torch": ["torch"],
    "transformer_lens": ["transformer_lens"],
    "transformers": ["transformers", "tokenizers"],
}
# A module and a name in it, or None for the whole module.
Reference = tuple[str, str | None]


def digest_modules(*modules: str) -> str:
    """Digest modules of this package, such as `injection.engine`, and everything that they use of it.

    Versions of libraries are not part of it.
    """
    return _follow([(f"{NAME}.{module}", None) for module in modules])[0]


def digest_function(module: str, function: str) -> str:
    """Digest a function of this package with everything that it uses, and the versions of libraries."""
    return _add_versions(*_follow([(f"{NAME}.{module}", function)]))


def digest_object(thing: type) -> str:
    """Digest a class of this package with everything that it uses, and the versions of libraries."""
    return digest_function(thing.__module__.removeprefix(f"{NAME}."), thing.__name__)


def digest_script(script: Path) -> str:
    """Digest a script or notebook with everything that it uses of this package, and the versions of libraries."""
    return _add_versions(*_follow([("", None)], {"": _read_module("", script)}))


def _add_versions(code: str, libraries: Iterable[str]) -> str:
    return ", ".join([code, *(f"{library} {version(library)}" for library in sorted(libraries))])


@dataclass(frozen=True)
class _Module:
    """The top level of a module: code by the name that it defines (None: what defines nothing), what that code
    refers to, and what imported names stand for."""

    code: Mapping[str | None, str]
    references: Mapping[str | None, tuple[Reference, ...]]
    imports: Mapping[str, Reference]


def _follow(start: list[Reference], scripts: Mapping[str, _Module] | None = None) -> tuple[str, set[str]]:
    """Digest everything that can be reached within this package; return it with the numerical libraries beyond."""
    known = dict(scripts or {})
    find_file, read_module = cache(_find_file), cache(_read_module)
    parts: dict[str, str] = {}
    libraries: set[str] = set()
    waiting, seen = list(start), set[Reference]()
    while waiting:
        reference = waiting.pop()
        module, name = reference
        if reference in seen:
            continue
        seen.add(reference)
        if module not in known and module.partition(".")[0] != NAME:
            libraries.update(NUMERICAL.get(module.partition(".")[0], []))
            continue
        if name is not None and module not in known and find_file(f"{module}.{name}"):
            waiting.append((f"{module}.{name}", None))  # a module of a package
            continue
        here = known.get(module) or read_module(module, find_file(module))
        for defined in here.code if name is None else {None, name} & here.code.keys():
            parts[f"{module}:{defined or ''}"] = here.code[defined]
            waiting.extend((of or module, what) for of, what in here.references[defined])
        if name is not None and name in here.imports:
            waiting.append(here.imports[name])
    syntax = "\0".join(f"{part}\0{parts[part]}" for part in sorted(parts))
    return f"code {hashlib.sha256(syntax.encode()).hexdigest()[:16]}", libraries


def _find_file(module: str) -> Path | None:
    """Return the file of a module or package of this library; None if there is no such module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _read_module(module: str, path: Path | None) -> _Module:
    if path is None:
        raise ModuleNotFoundError(f"no module {module} below {PACKAGE}")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = (cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        text = "\n".join("".join(cell["source"]) for cell in cells)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _parse(text, package)


@cache
def _parse(text: str, package: str) -> _Module:
    tree = _drop_docstrings(ast.parse(text))
    imports: dict[str, Reference] = {}
    code: dict[str | None, list[ast.stmt]] = {None: []}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _list_bound_names(statement, package)
        else:
            names: list[str] | list[None] = _list_defined_names(statement) or [None]
            for name in names:
                code.setdefault(name, []).append(statement)
    return _Module(
        {name: "\n".join(map(ast.unparse, statements)) for name, statements in code.items()},
        {
            name: tuple(
                dict.fromkeys(
                    used for statement in statements for used in _list_references(statement, imports, package)
                )
            )
            for name, statements in code.items()
        },
        imports,
    )


def _list_bound_names(statement: ast.Import | ast.ImportFrom, package: str) -> dict[str, Reference]:
    """Return what the names that an import binds stand for."""
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: (alias.name, None) for alias in statement.names}
    source = statement.module or ""
    if statement.level:
        parts = package.split(".")
        source = ".".join([*parts[: len(parts) - statement.level + 1], *filter(None, [statement.module])])
    return {alias.asname or alias.name: (source, alias.name) for alias in statement.names}


def _list_defined_names(statement: ast.stmt) -> list[str]:
    """Return the names that a statement defines, if it does nothing else."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            names = [node for target in targets for node in getattr(target, "elts", [target])]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            names = [target]
        case _:
            return []
    return [name.id for name in names] if all(isinstance(name, ast.Name) for name in names) else []


def _list_references(node: ast.AST, imports: Mapping[str, Reference], package: str) -> Iterator[Reference]:
    """Yield what a piece of code may use (of its own module: an empty name); local variables count as the module's."""
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from _list_bound_names(node, package).values()
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if _is_module(imports.get(name)):
            yield _join_name(imports[name]), attribute
        case ast.Name(id=name):
            yield "", name
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _list_references(child, imports, package)
            yield from (("", name) for name in _list_quoted_names(node))


def _list_quoted_names(node: ast.AST) -> Iterator[str]:
    """Yield the names in quotes in the annotations of an argument, a function or an assignment."""
    for annotation in filter(None, (getattr(node, "annotation", None), getattr(node, "returns", None))):
        for part in ast.walk(annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
                yield part.value


def _is_module(reference: Reference | None) -> bool:
    """Return whether an imported name is a module: by its import statement or, in this package, by its file."""
    return reference is not None and (reference[1] is None or _find_file(_join_name(reference)) is not None)


def _join_name(reference: Reference) -> str:
    return ".".join(filter(None, reference))


def _drop_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
