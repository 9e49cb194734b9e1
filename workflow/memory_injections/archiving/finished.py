"""Finding out what a finished study is made of: Snakemake says it, and whether all of it is up to date."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from memory_injections.archiving.contents import FinishedStudy, MadeFile
from memory_injections.checksums import read_origin
from memory_injections.config.study import Study, read_study
from memory_injections.errors import StudyError


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
