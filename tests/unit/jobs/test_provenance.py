"""What results are made of is written beside them, and compared with what is wanted by contents, not by paths."""

from pathlib import Path
from typing import Any

import pytest
from memory_injections.checksums import locate_checksum, read_origin, verify_file, write_checksum
from memory_injections.jobs.provenance import carries_origin, compare_origins, describe_origin, name_inputs

PARAMS: dict[str, Any] = {"code": {"scripts/a.py": "code 1", "sources.B": "code 2"}, "seed": 0, "grid": [1.0, 4]}


def describe(params: dict[str, Any] = PARAMS, **contents: list[str]) -> dict[str, Any]:
    inputs = {name: [Path(f"{name}{number}") for number, _ in enumerate(each)] for name, each in contents.items()}
    checksums = {path: contents[name][int(path.name[-1])] for name, paths in inputs.items() for path in paths}
    return describe_origin(params, inputs, checksums)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a\n")
    origin = describe(PARAMS | {"checksums": {Path("a"): "1"}, "shard": (1, 2)}, cells=["x", "y"])
    write_checksum(table, origin)
    assert read_origin(table) == origin
    assert compare_origins(read_origin(table), origin, ()) == []
    verify_file(table)


def test_a_record_belongs_to_a_file_of_its_name(tmp_path: Path) -> None:
    """All results of a job are made of the same; one in the place of another is still another."""
    table, other = tmp_path / "table.csv", tmp_path / "other.csv"
    table.write_text("a\n")
    write_checksum(table, describe())
    table.rename(other)
    locate_checksum(table).rename(locate_checksum(other))
    verify_file(other)
    assert read_origin(other) == {}


@pytest.mark.parametrize("contents", [b"", b"0" * 32, b"\xff", b"{}\n# {\n", b"x\n# 3\n"])
def test_a_damaged_record_says_nothing(contents: bytes, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    assert read_origin(table) == {}
    locate_checksum(table).write_bytes(contents)
    assert read_origin(table) == {}
    assert compare_origins(read_origin(table), describe(), ()) == ["nothing says what it was made of"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (describe(PARAMS | {"seed": 5}, cells=["x", "y"]), ["seed 0 -> 5"]),
        (describe(PARAMS | {"grid": [1.0, 4, *range(50)]}, cells=["x", "y"]), ["grid"]),
        (describe(PARAMS | {"more": True}, cells=["x", "y"]), ["more None -> True"]),
        (
            describe(PARAMS | {"code": {"scripts/a.py": "code 3", "sources.B": "code 2"}}, cells=["x", "y"]),
            ["code.scripts/a.py code 1 -> code 3"],
        ),
        (describe(cells=["x", "z"]), ["contents of cells"]),
        (describe(cells=["y", "x"]), ["contents of cells"]),
        (describe(cells=["x"]), ["contents of cells"]),
        (describe(cells=["x", "y"], pairs=["p"]), ["contents of pairs"]),
        (describe(cells=["x", "y"], waited=["w"]), []),
    ],
)
def test_differences_are_told_in_words(wanted: dict[str, Any], words: list[str]) -> None:
    assert compare_origins(describe(cells=["x", "y"]), wanted, {"waited"}) == words


def test_paths_do_not_count() -> None:
    made, wanted = describe(cells=["x"]), describe(cells=["x"])
    made["inputs"]["cells"] = {"/elsewhere/cells": "x"}
    assert compare_origins(made, wanted, ()) == []


def test_inputs_with_and_without_names() -> None:
    named = name_inputs([(None, "a"), ("cells", ["b", "c"]), (None, "d"), ("pairs", "e")])
    assert named == {"": [Path("a"), Path("d")], "cells": [Path("b"), Path("c")], "pairs": [Path("e")]}


def test_notebooks_seals_and_plain_folders_carry_nothing(tmp_path: Path) -> None:
    carries = {name: carries_origin(tmp_path / name) for name in ("a.csv", "a.ipynb", ".a.csv.xxh3")}
    assert carries == {"a.csv": True, "a.ipynb": False, ".a.csv.xxh3": False}
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not carries_origin(folder)
    write_checksum(folder)
    assert carries_origin(folder)
