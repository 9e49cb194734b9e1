"""The code keeps its rules: packages that say what they are for, and a library that knows no study's folders."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from conftest import ROOT
from memory_injections.figures.registry import Subject

WORKFLOW = ROOT / "workflow"
LIBRARY = WORKFLOW / "memory_injections"
ROOMS = sorted(path.parent for path in LIBRARY.glob("*/__init__.py"))
MODULES = sorted(LIBRARY.rglob("*.py"))
RULES = [WORKFLOW / "Snakefile", *sorted((WORKFLOW / "rules").glob("*.smk"))]


def name_of(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_says_what_it_is_for(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    assert said is not None
    assert len(said) > 30
    assert not [path for path in room.rglob("*.py") if path.parent != room]


def test_rooms_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    listed = re.findall(r"^  (\w+)/ ", text, flags=re.MULTILINE)
    assert sorted(listed) == [room.name for room in ROOMS]


class Plain(ast.NodeTransformer):
    """Remove text for human readers: docstrings, and descriptions of options and config keys."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.Call):
            node.keywords = [word for word in node.keywords if word.arg not in ("description", "help")]
        return node


def test_the_library_knows_no_folder_of_a_study_and_ends_no_process() -> None:
    found = {}
    for module in MODULES:
        code = ast.unparse(Plain().visit(ast.parse(module.read_text(encoding="utf-8"))))
        if name_of(module) == "command_line/running.py":  # it lends models of the study in whose folder it is called
            code = code.replace("Path('results/shared/models')", "")
        found[name_of(module)] = re.findall(r"results/|resources/|parents\[2\]|SystemExit", code)
    assert {module: words for module, words in found.items() if words} == {}


def test_every_rule_follows_its_code() -> None:
    """A rule must have a digest of its script among its params, so that a change of code reruns it."""
    scripts = []
    for file in RULES:
        rules = re.split(r"^ *(?:rule|checkpoint)(?= \w+:|:)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for rule in rules[1:]:
            if rule.startswith(" all:"):
                continue
            (script,) = re.findall(r'^ *script:\n *"\.\./scripts/(\w+)\.py"', rule, flags=re.MULTILINE)
            (params,) = re.findall(r"^ *params:\n(.*?)^ *script:", rule, flags=re.MULTILINE | re.DOTALL)
            (code,) = re.findall(r"^ *code=(.*?)(?=^ *\w+=|\Z)", params, flags=re.MULTILINE | re.DOTALL)
            assert re.search(rf"""digest_code\(\s*["']{script}["']""", code), rule
            scripts.append(script)
    assert sorted(scripts) == sorted(path.stem for path in (WORKFLOW / "scripts").glob("[!_]*.py"))


def test_profiles_name_rules_that_exist() -> None:
    """Snakemake silently ignores rule names that do not exist."""
    rules = {
        rule for file in RULES for rule in re.findall(r"^ *(?:rule|checkpoint) (\w+):", file.read_text(), re.MULTILINE)
    }
    rules |= {f"{subject}_figures" for subject in get_args(Subject)}
    for profile in (WORKFLOW / "profiles").glob("*/profile.yaml"):
        settings = yaml.safe_load(profile.read_text(encoding="utf-8"))
        for key in ("set-resources", "set-threads", "groups"):
            assert set(settings.get(key, {})) <= rules, profile


def test_the_workflow_asks_once_whose_cells_it_shows() -> None:
    files = [*RULES, *sorted((WORKFLOW / "scripts").glob("*.py"))]
    asked = {file.name: file.read_text(encoding="utf-8").count("is_reanalysis") for file in files}
    assert {name: times for name, times in asked.items() if times} == {"Snakefile": 1}


def test_unit_tests_mirror_the_rooms() -> None:
    folders = {path.parent.name for path in (ROOT / "tests" / "unit").glob("*/test_*.py")}
    assert folders <= {room.name for room in ROOMS} | {"docs"}
