"""What the jobs of two tiny studies run is what their digests cover."""

import ast
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import isclass
from pathlib import Path
from typing import Any

import call_records
import pytest
from authors_files import write_authors_files
from checkout import Checkout, make_checkout
from conftest import WORDS
from memory_injections.data import sources as data_sources
from memory_injections.figures.registry import list_figures
from memory_injections.jobs import digest
from memory_injections.jobs.digest import Trace, trace_function, trace_script
from memory_injections.models import sources as model_sources
from memory_injections.paper import published_sources
from memory_injections.tables.registry import list_table_jobs

# They look after files, logs, errors and names, and no number is of their making.
KEEPERS = {"jobs", "atomic_files", "checksums", "errors", "registry"}
# They ask a server first, and are not run here.
ASK_A_SERVER = {"access", "published_download"}
PUBLISHED = {"source": "folder", "path": "theirs"}
STUDIES: dict[str, dict[str, Any]] = {
    "own": {
        "words": {"source": "file", "path": str(WORDS)},
        "published": PUBLISHED,
        "leave_out": ["words"],
        "injection": [
            {"encodings": ["unembed", "layer"], "magnitudes": [1, 4], "score": "whole"},
            {"encodings": ["embed"], "magnitudes": {"relative": [0.1, 1]}, "layers": [1]},
            {"memories": ["nouns"], "magnitudes": [4], "layers": [0, 2]},
        ],
    },
    "authors": {"published": PUBLISHED},
}


class Recorder(ast.NodeTransformer):
    """Makes every function of one part of a module say that it runs."""

    def __init__(self, module: str, part: str | None) -> None:
        self.place = (module, part or "")

    def see(self, function: str) -> ast.expr:
        code = f"__import__('memory_injections.call_records').call_records.see{(*self.place, function)!r}"
        return ast.parse(code, mode="eval").body

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(ast.get_docstring(node) is not None, ast.Expr(self.see(node.name)))
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        pair = ast.Tuple([self.see("lambda"), node.body], ast.Load())
        return ast.Lambda(node.args, ast.Subscript(pair, ast.Constant(1), ast.Load()))


def add_recorder(package: Path) -> None:
    """Let every function of a copy of the library record that it runs."""
    for file in package.rglob("*.py"):
        module = ".".join(part for part in file.relative_to(package).with_suffix("").parts if part != "__init__")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for statement in tree.body:
            Recorder(module, next(iter(digest._list_defined_names(statement)), None)).visit(statement)
        file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    shutil.copy(call_records.__file__, package)


def list_traces(workflow: Path) -> dict[str, Callable[[], Trace]]:
    """What makes each digest that a job can have among its parameters."""
    scripts = [*(workflow / "scripts").glob("[!_]*.py"), *(workflow / "notebooks").glob("*.ipynb")]
    traces: dict[str, Callable[[], Trace]] = {script.name: partial(trace_script, script) for script in scripts}
    declared = *list_figures().values(), *list_table_jobs().values()
    places = [(module, name) for module, _, name in (one.code.rpartition(".") for one in declared)]
    for module in (data_sources, model_sources, published_sources):
        places += [
            (thing.__module__.removeprefix("memory_injections."), name)
            for name, thing in vars(module).items()
            if isclass(thing) and thing.__module__ == module.__name__
        ]
    return traces | {".".join(place): partial(trace_function, *place) for place in places}


@dataclass
class Runs:
    """A copy of the project whose jobs have run: the calls of each, and the traces that its digests are of."""

    workflow: Path
    calls: Mapping[str, set[tuple[str, str, str]]]
    traces: Mapping[str, Mapping[str, Trace]]

    @property
    def package(self) -> Path:
        return self.workflow / "memory_injections"


def run_study(checkout: Checkout) -> Runs:
    """Run a study with a recorder, and read what its jobs recorded."""
    workflow, records = checkout.folder / "workflow", checkout.folder / "records"
    add_recorder(workflow / "memory_injections")
    write_authors_files(checkout.folder / "theirs")
    records.mkdir()
    checkout.environment[call_records.FOLDER] = str(records)
    checkout.snakemake()
    calls: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for file in records.glob("*.json"):
        record = json.loads(file.read_text())
        calls[record["params"]].update(map(tuple, record["calls"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "PACKAGE", workflow / "memory_injections")
        traces = {name: trace() for name, trace in list_traces(workflow).items()}
    of_jobs = {params: {name: trace for name, trace in traces.items() if trace.digest in params} for params in calls}
    return Runs(workflow, calls, of_jobs)


@pytest.fixture(scope="module")
def runs(tiny_models: dict[str, Path], python: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Runs]:
    """The runs of the studies."""
    folders = {study: tmp_path_factory.mktemp(study) for study in STUDIES}
    checkouts = {
        study: make_checkout(folders[study], tiny_models["llama"], python, **STUDIES[study]) for study in STUDIES
    }
    checkouts["authors"].config = {"study": "tiny", **STUDIES["authors"]}
    return {study: run_study(checkout) for study, checkout in checkouts.items()}


def test_every_script_and_figure_is_run(runs: Mapping[str, Runs]) -> None:
    ran = {name for study in runs.values() for traces in study.traces.values() for name in traces}
    scripts = {path.name for path in (runs["own"].workflow / "scripts").glob("[!_]*.py")}
    assert {Path(script).stem for script in scripts - ran} == ASK_A_SERVER
    assert {one.code for one in (*list_figures().values(), *list_table_jobs().values())} <= ran


def is_covered(call: tuple[str, str, str], trace: Trace) -> bool:
    module, part, _ = call
    return (f"memory_injections.{module}".rstrip("."), part or None) in trace.parts


@pytest.mark.parametrize("study", STUDIES)
def test_digests_cover_what_jobs_run(study: str, runs: Mapping[str, Runs]) -> None:
    missing = {
        (*sorted(runs[study].traces[params]), call)
        for params, calls in runs[study].calls.items()
        for call in calls
        if call[0].partition(".")[0] not in KEEPERS
        and not any(is_covered(call, trace) for trace in runs[study].traces[params].values())
    }
    assert sorted(missing) == []


def test_a_mutation_of_what_a_job_runs_is_another_digest(
    runs: Mapping[str, Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = runs["own"]
    found = sorted(
        {
            (name, call)
            for params, traces in own.traces.items()
            for name, trace in traces.items()
            for call in own.calls[params]
            if is_covered(call, trace)
        }
    )
    monkeypatch.setattr(digest, "PACKAGE", own.package)
    traces = list_traces(own.workflow)
    for name, call in random.Random(0).sample(found, 40):
        file = next(
            path
            for path in (
                own.package / f"{call[0].replace('.', '/')}{end}".strip("/") for end in (".py", "/__init__.py")
            )
            if path.exists()
        )
        before, text = traces[name]().digest, file.read_text(encoding="utf-8")
        assert repr(call) in text
        file.write_text(text.replace(f"see{call!r}", f"see{call!r} or 1", 1), encoding="utf-8")
        assert traces[name]().digest != before, (name, call)
        file.write_text(text, encoding="utf-8")
