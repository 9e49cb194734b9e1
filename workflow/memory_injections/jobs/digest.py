"""Digests of code by its syntax: comments, docstrings, labels and formatting do not count.

From a script, a module, a class or a function, names are followed to their definitions, through this package and
installed ones that add to it. A function that is never reached does not count. One that a decorator registers is
reached with its registry: a definition belongs to each variable that its decorator is given, is a method of, or names
in its own code, if that variable can be filled.
What is found by a name in a text (`import_module`, `getattr`) or among subclasses is not reached: it needs a digest of
its own. Of other libraries, the versions of those that determine results do.
"""

import ast
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

from memory_injections.registry import find_extensions, list_modules

NAME = "memory_injections"
PACKAGE = Path(__file__).parents[1]
# Imported name -> distributions whose versions determine numbers, or what figures and pages look like.
COUNTED = {
    "PIL": ["pillow"],
    "datasets": ["datasets"],
    "gguf": ["gguf"],
    "jinja2": ["Jinja2"],
    "matplotlib": ["matplotlib"],
    "nbconvert": ["nbconvert"],
    "numpy": ["numpy"],
    "pandas": ["pandas", "pyarrow"],
    "pyarrow": ["pyarrow"],
    "scipy": ["scipy"],
    "seaborn": ["seaborn"],
    "statsmodels": ["statsmodels"],
    "tokenizers": ["tokenizers"],
    "torch": ["torch"],
    "transformer_lens": ["transformer_lens"],
    "transformers": ["transformers", "tokenizers"],
}
# Decorators whose label is text for the pages alone.
LABELLED = ("register_control", "register_encoding", "register_text")
version = cache(metadata.version)
# What a variable holds that something can be added to.
CONTAINERS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp, ast.Call)
# A module and a name in it, perhaps with attributes (`name.attribute`), or None for the whole module.
Reference = tuple[str, str | None]
# A module and a name that it defines, or None for the code that defines nothing.
Part = tuple[str, str | None]


def digest_modules(*modules: str) -> str:
    """Digest modules of this package, such as `injection.engine`, and everything that they use of it.

    Versions of libraries are not part of it.
    """
    return _follow([(f"{NAME}.{module}", None) for module in modules]).code


@dataclass(frozen=True)
class Trace:
    """What a digest covers: code by its place, and imported libraries."""

    parts: Mapping[Part, str]
    libraries: frozenset[str]

    @property
    def code(self) -> str:
        """The digest of the code alone."""
        texts = {f"{module}:{name or ''}": text for (module, name), text in self.parts.items()}
        syntax = "\0".join(f"{place}\0{texts[place]}" for place in sorted(texts))
        return f"code {hashlib.sha256(syntax.encode()).hexdigest()[:16]}"

    @property
    def digest(self) -> str:
        """The digest of the code, and the versions of the libraries that count."""
        counted = {name for library in self.libraries for name in COUNTED.get(library, [])}
        return ", ".join([self.code, *(f"{name} {version(name)}" for name in sorted(counted))])


def trace_function(module: str, function: str) -> Trace:
    """Return what the digest of a function or class of this package, or of an extension, covers."""
    return _follow([(module if module in find_extensions() else f"{NAME}.{module}", function)])


def trace_script(script: Path) -> Trace:
    """Return what the digest of a script or notebook covers. Its own module has an empty name."""
    return _follow([("", None)], script)


@dataclass(frozen=True, eq=False)
class _Module:
    """The top level of a module: code by the name that it defines (None: what defines nothing), what that code
    refers to, what imported names stand for, what decorators refer to, and which variables can be filled."""

    name: str
    package: str
    code: Mapping[str | None, str]
    references: Mapping[str | None, tuple[Reference, ...]]
    imports: Mapping[str, Reference]
    decorators: Mapping[str, tuple[Reference, ...]]
    containers: frozenset[str]


class _Package:
    """The modules of this package and of its extensions, and perhaps a script, whose name is empty, as they are now."""

    def __init__(self, script: Path | None) -> None:
        self.files = list_modules(NAME, PACKAGE) | find_extensions()
        if script is not None:
            self.files[""] = script
        self.read = cache(self._read)

    def _read(self, module: str) -> _Module:
        if module not in self.files:
            raise ModuleNotFoundError(f"no module {module} below {PACKAGE}")
        file = self.files[module]
        return _parse(_read_code(file), module, module if file.name == "__init__.py" else module.rpartition(".")[0])

    def holds(self, module: str) -> bool:
        """Whether a module is the script or, by its name, one of this package."""
        return module in self.files or module.partition(".")[0] == NAME

    def enter(self, reference: Reference) -> Reference:
        """Turn what starts with modules of a package into a reference within the last of them."""
        module, name = reference
        while name is not None and f"{module}.{name.partition('.')[0]}" in self.files:
            first, _, rest = name.partition(".")
            module, name = f"{module}.{first}", rest or None
        return module, name

    def find(self, reference: Reference) -> Part | None:
        """Follow imports to the definition of a name; None if it is not one of this package."""
        module, name = self.enter(reference)
        if name is None or not self.holds(module):
            return None
        here, first = self.read(module), name.partition(".")[0]
        if first in here.code or first not in here.imports:
            return (module, first) if first in here.code else None
        return self.find(_import_name(here, name))

    @cached_property
    def registered(self) -> Mapping[Part, Sequence[Part]]:
        """The definitions that decorators may add to each variable of this package."""
        found: dict[Part, list[Part]] = defaultdict(list)
        for module, file in self.files.items():
            if _has_decorators(_read_code(file)):
                for name, references in self.read(module).decorators.items():
                    for registry in self._list_registries(references):
                        found[registry].append((module, name))
        return found

    def _list_registries(self, references: Iterable[Reference]) -> set[Part]:
        """The variables that a decorator is given, is a method of, or names in its own code."""
        decorators = set(filter(None, map(self.find, references)))
        named = (
            self.find(reference) for module, name in decorators for reference in _list_values(self.read(module), name)
        )
        return {part for part in (*decorators, *filter(None, named)) if part[1] in self.read(part[0]).containers}


def _follow(start: Iterable[Reference], script: Path | None = None) -> Trace:
    """Reach everything that is used, within this package and of the libraries beyond."""
    package = _Package(script)
    parts: dict[Part, str] = {}
    libraries: set[str] = set()
    waiting, seen = list(start), set[Reference]()
    while waiting:
        module, name = reference = package.enter(waiting.pop())
        if reference in seen:
            continue
        seen.add(reference)
        if not package.holds(module):
            libraries.add(module.partition(".")[0])
            continue
        here = package.read(module)
        for defined in here.code if name is None else _choose_parts(here, name):
            parts[module, defined] = here.code[defined]
            waiting.extend(here.references[defined])
            waiting.extend(package.registered.get((module, defined), ()))
        if name is not None and name.partition(".")[0] in here.imports:
            waiting.append(_import_name(here, name))
    return Trace(parts, frozenset(libraries))


def _choose_parts(module: _Module, name: str) -> set[str | None]:
    """Return the parts of a module that run for a name; one that it does not have goes to its `__getattr__`."""
    first = name.partition(".")[0]
    known = first in module.code or first in module.imports
    return {None, first if known else "__getattr__"} & module.code.keys()


def _import_name(module: _Module, name: str) -> Reference:
    """Return what a name, perhaps with attributes, stands for where its module imports it from."""
    first, _, attributes = name.partition(".")
    source, imported = module.imports[first]
    return source, ".".join(filter(None, [imported, attributes])) or None


def _read_code(file: Path) -> str:
    status = file.stat()
    return _read_unchanged(file, status.st_mtime_ns, status.st_size)


@cache
def _read_unchanged(file: Path, modified: int, size: int) -> str:
    """Return the code of a script, a module or a notebook; a file is read again if its time or size is another."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".ipynb":
        return text
    cells = (cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
    return "\n".join("".join(cell["source"]) for cell in cells)


@cache
def _has_decorators(text: str) -> bool:
    """Return whether a module may have decorators of this package; to parse all others takes long."""
    return re.search(r"^@(?!(?:dataclass|cache|contextmanager)\b)", text, re.MULTILINE) is not None


@cache
def _parse(text: str, module: str, package: str) -> _Module:
    tree = _drop_texts(ast.parse(text))
    imports: dict[str, Reference] = {}
    code: dict[str | None, list[ast.stmt]] = {None: []}
    decorators: dict[str, list[ast.expr]] = {}
    containers: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _list_bound_names(statement, package)
            continue
        names = _list_defined_names(statement)
        places: list[str] | list[None] = names or [None]
        for name in places:
            code.setdefault(name, []).append(statement)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            decorators.setdefault(statement.name, []).extend(statement.decorator_list)
        elif isinstance(getattr(statement, "value", None), CONTAINERS):
            containers.update(names)

    return _Module(
        module,
        package,
        {name: "\n".join(map(ast.unparse, statements)) for name, statements in code.items()},
        {name: _refer(statements, module, package, imports) for name, statements in code.items()},
        imports,
        {name: _refer(nodes, module, package, imports) for name, nodes in decorators.items() if nodes},
        frozenset(containers),
    )


@cache
def _list_values(module: _Module, name: str | None) -> tuple[Reference, ...]:
    """Return what the code of a name refers to, except in annotations."""
    tree = _drop_annotations(ast.parse(module.code[name]))
    return _refer([tree], module.name, module.package, module.imports)


def _refer(
    nodes: Iterable[ast.AST], module: str, package: str, imports: Mapping[str, Reference]
) -> tuple[Reference, ...]:
    """Return what pieces of a module's code may use."""
    found = (used for node in nodes for used in _list_references(node, imports, package))
    return tuple(dict.fromkeys((of or module, name) for of, name in found))


def _list_bound_names(statement: ast.Import | ast.ImportFrom, package: str) -> dict[str, Reference]:
    """Return what the names that an import binds stand for; `import a.b` binds `a`."""
    if isinstance(statement, ast.Import):
        names = {alias.asname or alias.name.partition(".")[0]: alias for alias in statement.names}
        return {name: (alias.name if alias.asname else name, None) for name, alias in names.items()}
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
        case ast.Import(names=names):
            yield from ((alias.name, None) for alias in names)
        case ast.ImportFrom():
            yield from _list_bound_names(node, package).values()
        case ast.Attribute() | ast.Name() if name := _join_attributes(node):
            first, _, attributes = name.partition(".")
            source, imported = imports.get(first, ("", first))
            yield source, ".".join(filter(None, [imported, attributes])) or None
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _list_references(child, imports, package)
            yield from (("", name) for name in _list_quoted_names(node))


def _join_attributes(node: ast.AST) -> str:
    """Return a name with its attributes as it stands in the code; an empty text for attributes of anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute) if first := _join_attributes(value):
            return f"{first}.{attribute}"
    return ""


def _list_quoted_names(node: ast.AST) -> Iterator[str]:
    """Yield the names in quotes in the annotations of an argument, a function or an assignment."""
    for annotation in filter(None, (getattr(node, "annotation", None), getattr(node, "returns", None))):
        for part in ast.walk(annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
                yield part.value


def _drop_texts(tree: ast.Module) -> ast.Module:
    """Drop docstrings, and the labels of what functions are registered as: pages take these as parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in LABELLED:
            node.keywords = [word for word in node.keywords if word.arg != "label"]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _drop_annotations(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return tree
