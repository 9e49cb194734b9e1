"""Installed packages that add to the project: a module and what an installer would write beside it."""

from pathlib import Path

from memory_injections.registry import GROUP


def install(folder: Path, name: str, code: str) -> None:
    """Lay a module into a folder as an installed package whose entry point it is."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}\n", encoding="utf-8")
