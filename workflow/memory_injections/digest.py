"""What code computes, as a digest: comments, docstrings and formatting do not count.

From a script or a module, names are followed through this package, to whatever they are defined by: a function that
nobody there calls does not count either. Of other libraries, the versions of those that determine numbers do.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name
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


def module_digest(*modules: str) -> str:
    """The digest of modules of this package and of all that they use of others; versions of libraries apart."""
    return _followed({f"{NAME}.{module}": _read(PACKAGE / f"{module}.py") for module in modules})[0]


def script_digest(script: Path) -> str:
    """The digest of a script or notebook and of all that it uses of this package, and the versions of the libraries."""
    code, libraries = _followed({"": _read(script)})
    return ", ".join([code, *(f"{library} {version(library)}" for library in sorted(libraries))])


@dataclass(frozen=True)
class _Module:
    """The top level of a module: code by the name that it defines (None: what defines nothing), what that code
    refers to, and what imported names stand for."""

    code: Mapping[str | None, str]
    references: Mapping[str | None, tuple[Reference, ...]]
    imports: Mapping[str, Reference]


def _followed(roots: Mapping[str, _Module]) -> tuple[str, set[str]]:
    """The digest of modules with all that they use of this package, and the numerical libraries among the rest."""
    parts: dict[str, str] = {}
    libraries: set[str] = set()
    waiting: list[Reference] = [(root, None) for root in roots]
    seen: set[Reference] = set()
    while waiting:
        reference = waiting.pop()
        name, used = reference
        if reference in seen:
            continue
        seen.add(reference)
        if name not in roots and name.partition(".")[0] != NAME:
            libraries.update(NUMERICAL.get(name.partition(".")[0], []))
            continue
        here = roots.get(name) or _read(PACKAGE / f"{name.rpartition('.')[2]}.py")
        for defined in here.code if used is None else {None, used} & here.code.keys():
            parts[f"{name}:{defined or ''}"] = here.code[defined]
            waiting.extend((of or name, what) for of, what in here.references[defined])
        if used is not None and used in here.imports:
            waiting.append(here.imports[used])
    syntax = "\0".join(f"{part}\0{parts[part]}" for part in sorted(parts))
    return f"code {hashlib.sha256(syntax.encode()).hexdigest()[:16]}", libraries


def _read(path: Path) -> _Module:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = (cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        text = "\n".join("".join(cell["source"]) for cell in cells)
    return _parsed(text)


@cache
def _parsed(text: str) -> _Module:
    tree = _without_docstrings(ast.parse(text))
    imports: dict[str, Reference] = {}
    code: dict[str | None, list[ast.stmt]] = {None: []}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _imported(statement)
        else:
            names: list[str] | list[None] = _defined(statement) or [None]
            for name in names:
                code.setdefault(name, []).append(statement)
    return _Module(
        {name: "\n".join(map(ast.unparse, statements)) for name, statements in code.items()},
        {
            name: tuple(dict.fromkeys(used for statement in statements for used in _references(statement, imports)))
            for name, statements in code.items()
        },
        imports,
    )


def _imported(statement: ast.Import | ast.ImportFrom) -> dict[str, Reference]:
    """What the names that an import binds stand for; a relative import is one of this package."""
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: (alias.name, None) for alias in statement.names}
    source = ".".join(filter(None, [NAME if statement.level else "", statement.module]))
    return {
        alias.asname or alias.name: (f"{NAME}.{alias.name}", None) if source == NAME else (source, alias.name)
        for alias in statement.names
    }


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement defines and does nothing else."""
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


def _references(node: ast.AST, imports: Mapping[str, Reference]) -> Iterator[Reference]:
    """What a piece of code may use (of its own module: an empty name); a local variable counts as the module's."""
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from _imported(node).values()
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if imports.get(name, ("", ""))[1] is None:
            yield imports[name][0], attribute
        case ast.Name(id=name):
            yield "", name
        case ast.Constant(value=str(text)) if text.isidentifier():
            # An annotation in quotes.
            yield "", text
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _references(child, imports)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
