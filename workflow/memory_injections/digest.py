"""What code computes, as a digest: comments, docstrings and formatting do not count."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_digest(*modules: str) -> str:
    """SHA-256 over the syntax of some modules of this package and of all modules of it that they import."""
    sources: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in sources:
            tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
            waiting.extend(_imported(tree))
            sources[name] = ast.unparse(_without_docstrings(tree))
    return hashlib.sha256("\0".join(f"{name}\0{sources[name]}" for name in sorted(sources)).encode()).hexdigest()


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [alias.name for alias in node.names]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
