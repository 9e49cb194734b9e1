"""Packing a finished study as a Workflow Run RO-Crate, to archive and cite it.

    python workflow/scripts/_crate.py demo

Snakemake says what the study is made of, and whether all of it is up to date.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the library of this checkout

from memory_injections.archiving.contents import FinishedStudy, MadeFile
from memory_injections.archiving.crate import pack_study
from memory_injections.checksums import read_origin
from memory_injections.config.files import read_config
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError


def find_config(study: str, folder: Path = Path("config")) -> Path:
    """Return the config file of a study by the study's name."""
    found = [path for path in sorted(folder.glob("*.yaml")) if read_config(path).get("study") == study]
    if len(found) != 1:
        number = "no config" if not found else "more than one config"
        raise StudyError(f"{number} in {folder} has study: {study}; name the file with --configfile")
    return found[0]


def ask_snakemake(config: Path) -> list[dict[str, str]]:
    """Return Snakemake's summary of a study: a row for each file, with its rule, its inputs and its status."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--detailed-summary", "--configfile", str(config)]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        raise StudyError(f"Snakemake cannot read the study: {asked.stderr.strip().splitlines()[-1]}")
    return list(csv.DictReader(asked.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def find_study(config: Path) -> FinishedStudy:
    """Describe the finished study of a config; raise `StudyError` if it is not finished."""
    name = read_config(config)["study"]
    summary = ask_snakemake(config)
    lost = [row["output_file"] for row in summary if row["plan"] != "no update"]
    if lost:
        raise StudyError(
            f"study {name} is not finished: {len(lost)} of {len(summary)} files are missing or out of date, such as "
            f"{lost[0]}; run snakemake --cores all --configfile {config} first"
        )
    made = [describe_file(Path(row["output_file"]), row["rule"]) for row in summary]
    results = Path("results") / name
    return FinishedStudy(
        name,
        root=Path.cwd(),
        config=config,
        inputs=list_own_files(config),
        results=results,
        parts=results / "cells",
        records=[Path(kind) / name for kind in ("logs", "benchmarks")],
        made=made,
    )


def describe_file(path: Path, rule: str) -> MadeFile:
    """Describe a result by what is written beside it; notebooks and models by what is beside their page or manifest."""
    beside = {"walkthrough.ipynb": "walkthrough.html", "checkpoint": "manifest.json"}
    origin = read_origin(path.with_name(beside.get(path.name, path.name)))
    inputs = sorted(file for files in origin.get("inputs", {}).values() for file in files)
    return MadeFile(path, rule, tuple(inputs), origin.get("started"), origin.get("ended"))


def list_own_files(config: Path) -> list[Path]:
    """List the files with prompts and words that a config names, and that lie in this project."""
    study = parse_study(read_config(config), Path.cwd())
    sources = [*study.datasets.values(), *([study.words] if study.words else [])]
    files = [Path(file).absolute() for source in sources for file in source.local_files()]
    return [file.relative_to(Path.cwd()) for file in files if file.is_relative_to(Path.cwd())]


def main() -> None:
    """Pack the study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="the study's name")
    parser.add_argument("--configfile", type=Path, help="its config, if that is not in config/")
    options = parser.parse_args()
    try:
        config = options.configfile or find_config(options.study)
        study = find_study(config.resolve() if not config.resolve().is_relative_to(Path.cwd()) else config)
        crate = Path("results") / f"{study.name}.crate.zip"
        pack_study(study, crate)
    except StudyError as error:
        raise SystemExit(str(error)) from None
    print(f"The study as an RO-Crate: {crate}")


if __name__ == "__main__":
    main()
