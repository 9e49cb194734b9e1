"""A copy of the project to run Snakemake in: it can be edited, dry-run and restored."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from time import time_ns
from typing import Any

import yaml
from conftest import PAIRS, ROOT


def copy_project(folder: Path) -> None:
    """Copy the parts of the project that a study needs into a folder."""
    for part in ("workflow", "resources"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def make_checkout(folder: Path, model: Path, python: Path, **changes: Any) -> "Checkout":
    """Copy the project into a folder, with a study of three prompts and one model that is called `tiny`."""
    copy_project(folder)
    study = {
        "study": "tiny",
        "models": {"tiny": {"source": "local", "path": str(model)}},
        "datasets": {"pairs": {"source": "file", "path": str(PAIRS), "rows": 3}},
        "injection": {"encodings": ["unembed"], "magnitudes": [1, 4]},
    }
    return Checkout(folder, study | changes, python)


class Checkout:
    """A copy of the project with a study. It uses its own library: `PYTHONPATH` is not set."""

    def __init__(self, folder: Path, config: dict[str, Any], python: Path) -> None:
        self.folder, self.config, self.python = folder, config, python
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._first_config, self._first_environment = deepcopy(config), dict(self.environment)
        self._contents: dict[Path, bytes | None] = {}
        self._times: dict[Path, int] = {}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake on the study."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")
        command = [str(self.python), "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "study.yaml"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on the study, and return how it ended."""
        process = self.start(*arguments)
        said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    def snakemake(self, *arguments: str) -> str:
        """Run Snakemake on the study, assert that it succeeds, and return its output."""
        done = self.call(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self, *arguments: str) -> dict[str, int]:
        """Return the number of jobs of each rule in a dry run."""
        said = self.snakemake("--dry-run", *arguments)
        jobs = {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE)}
        assert jobs or "Nothing to be done" in said
        return {rule: number for rule, number in jobs.items() if rule not in ("all", "total")}

    def pack(self) -> subprocess.CompletedProcess[str]:
        """Pack the study as an archive."""
        command = [sys.executable, "-m", "memory_injections.command_line.cli", "crate", "study.yaml", "results"]
        environment = self.environment | {"PYTHONPATH": str(self.folder / "workflow")}
        return subprocess.run(
            [*command, "logs", "benchmarks"], cwd=self.folder, env=environment, capture_output=True, text=True
        )

    def write(self, file: str, text: str) -> None:
        """Write a file, and remember what was there before."""
        path = self.folder / file
        self._remember_time(path)
        self._contents.setdefault(path, path.read_bytes() if path.exists() else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text in a file."""
        text = (self.folder / file).read_text(encoding="utf-8")
        assert old in text
        self.write(file, text.replace(old, new, 1))

    def touch_everything(self) -> None:
        """Change the time of every file of the project and its results, making the oldest results the newest."""
        left_out = {".snakemake", "__pycache__"}
        files = [path for path in self.folder.rglob("*") if path.is_file() and not left_out.intersection(path.parts)]
        now = time_ns()
        for step, path in enumerate(sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)):
            self._remember_time(path)
            os.utime(path, ns=(now + step * 1_000_000, now + step * 1_000_000))

    def _remember_time(self, path: Path) -> None:
        if path.exists():
            self._times.setdefault(path, path.stat().st_mtime_ns)

    def put_back(self) -> None:
        """Undo all edits, including file times."""
        for path, content in self._contents.items():
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
        for path, time in self._times.items():
            os.utime(path, ns=(time, time))
        self._contents, self._times = {}, {}
        self.config, self.environment = deepcopy(self._first_config), dict(self._first_environment)

    def lend_models(self, folder: Path) -> None:
        """Copy the study's data, models and activations to another folder, as if they had been computed there.

        The store of cells is left out.
        """
        shared, records = "results/shared", ".snakemake/metadata"
        for part in ("llama", "mine.csv", "words.csv", shared, records):
            if (self.folder / part).is_dir():
                is_store = shutil.ignore_patterns("cells") if part == shared else None
                shutil.copytree(self.folder / part, folder / part, symlinks=True, ignore=is_store)
            else:
                shutil.copy2(self.folder / part, folder / part)
