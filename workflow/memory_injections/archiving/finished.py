"""What a finished study is made of: made files and where they come from, code, and versions.

Snakemake says it, and whether all of it is up to date.
"""

import csv
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd

from memory_injections.checksums import read_origin
from memory_injections.config.study import Study, read_study
from memory_injections.errors import StudyError

# What another machine needs to run the study again, beside its config.
CODE = ("workflow", "resources", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "CITATION.cff")
LEFT_OUT = ("__pycache__", ".egg-info")
# Shared files that say which models and prompts a study had; models themselves are left out.
DESCRIPTIONS = (".json", ".csv")


@dataclass(frozen=True)
class MadeFile:
    """A file that a job of a study made, with the job's rule, inputs and times (POSIX seconds, if they are known)."""

    path: Path
    rule: str
    inputs: tuple[str, ...]
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study: its name, its config, the folder of its results, and what its jobs made.

    All paths are relative to the project's folder, `root`, but the config may stand elsewhere. `inputs` are the user's
    own prompts and words, `parts` is the folder of results that stand in other files too, `records` are folders of logs
    and benchmarks.
    """

    name: str
    root: Path
    config: Path
    inputs: Sequence[Path]
    results: Path
    parts: Path
    records: Sequence[Path]
    made: Sequence[MadeFile]

    def list_results(self) -> list[Path]:
        """List the study's own results."""
        paths = (each.path for each in self.made if each.path.is_relative_to(self.results))
        return sorted(path for path in paths if self._is_kept(path) and not path.is_relative_to(self.parts))

    def list_inputs(self) -> list[Path]:
        """List the user's own prompts and words, and what describes models and prompts among shared results."""
        shared = (each.path for each in self.made if not each.path.is_relative_to(self.results))
        described = {path for path in shared if self._is_kept(path) and path.suffix in DESCRIPTIONS}
        return sorted(described.union(self.inputs).difference(self.list_code()))

    def list_records(self) -> list[Path]:
        """List logs and benchmarks."""
        return sorted(path for folder in self.records for path in self._walk(folder))

    def list_code(self) -> list[Path]:
        """List the files of the workflow, and what else is needed to run it."""
        return sorted(path for part in CODE for path in self._walk(Path(part)))

    def find_times(self) -> tuple[datetime | None, datetime]:
        """Return when the first job started, if that is known, and when the last one ended."""
        started = [each.started for each in self.made if each.started]
        ended = [each.ended for each in self.made if each.ended]
        if not ended:
            ended = [(self.root / path).stat().st_mtime for path in self.list_results()]
        return _make_time(min(started)) if started else None, _make_time(max(ended))

    def tabulate_provenance(self) -> pd.DataFrame:
        """Return a row for each file that a job made: the rule, when it started and ended, and the inputs."""
        rows = [
            {
                "file": each.path.as_posix(),
                "rule": each.rule,
                "started": _make_time(each.started).isoformat() if each.started else "",
                "ended": _make_time(each.ended).isoformat() if each.ended else "",
                "inputs": "; ".join(each.inputs),
            }
            for each in sorted(self.made, key=lambda each: each.path)
            if not each.path.name.startswith(".")
        ]
        return pd.DataFrame(rows)

    def _is_kept(self, path: Path) -> bool:
        return (self.root / path).is_file() and not path.name.startswith(".")

    def _walk(self, part: Path) -> Iterator[Path]:
        whole = self.root / part
        for file in [whole] if whole.is_file() else whole.rglob("*"):
            path = file.relative_to(self.root)
            if file.is_file() and not any(name.startswith(".") or name.endswith(LEFT_OUT) for name in path.parts[1:]):
                yield path


def _make_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)


def list_versions() -> str:
    """Return what is installed here, a line `name==version` each, sorted."""
    names = {f"{each.metadata['Name']}=={each.version}" for each in distributions()}
    return "".join(f"{name}\n" for name in sorted(names, key=str.lower))


def find_study(config: Path, results: Path, records: Sequence[Path]) -> FinishedStudy:
    """Describe the study of a config, run in the current folder; raise `StudyError` if it is not finished.

    `results` is the folder of all studies' results, `records` are those of their logs and benchmarks.
    """
    root = Path.cwd()
    study = read_study(config, root)
    summary = _summarise(config)
    if lost := [row["output_file"] for row in summary if row["plan"] != "no update"]:
        raise StudyError(
            f"study {study.study} is not finished: {len(lost)} of {len(summary)} files are missing or out of date, "
            f"such as {lost[0]}; run snakemake --cores all --configfile {config} first"
        )
    whole = config.resolve()
    return FinishedStudy(
        study.study,
        root=root,
        config=whole.relative_to(root) if whole.is_relative_to(root) else whole,
        inputs=_list_own_files(study, root),
        results=results / study.study,
        parts=results / study.study / "cells",
        records=[folder / study.study for folder in records],
        made=[_describe_file(Path(row["output_file"]), row["rule"]) for row in summary],
    )


def _summarise(config: Path) -> list[dict[str, str]]:
    """Return Snakemake's summary of a study: a row for each file, with its rule, its inputs and its status."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--detailed-summary", "--configfile", str(config)]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        raise StudyError(f"Snakemake cannot read the study: {asked.stderr.strip().splitlines()[-1]}")
    return list(csv.DictReader(asked.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def _describe_file(path: Path, rule: str) -> MadeFile:
    """Describe a result by what is written beside it; notebooks and models by what is beside their page or manifest."""
    beside = {"walkthrough.ipynb": "walkthrough.html", "checkpoint": "manifest.json"}
    origin = read_origin(path.with_name(beside.get(path.name, path.name)))
    inputs = sorted(file for files in origin.get("inputs", {}).values() for file in files)
    return MadeFile(path, rule, tuple(inputs), origin.get("started"), origin.get("ended"))


def _list_own_files(study: Study, root: Path) -> list[Path]:
    """List the files with prompts and words that a study has, and that lie in this project."""
    sources = [*study.datasets.values(), *([study.words] if study.words else [])]
    files = [Path(file).absolute() for source in sources for file in source.local_files()]
    return [file.relative_to(root) for file in files if file.is_relative_to(root)]
