"""Planning a study takes work in proportion to its jobs."""

import os
import pstats
import re
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import PAIRS, ROOT, WORDS


def plan(folder: Path, n_models: int) -> tuple[int, int]:
    """Plan a study of many models: return the number of its jobs and of the calls of Python functions."""
    source = {"source": "huggingface", "repo": "some/model", "revision": "a" * 40}
    study = {
        "study": "wide",
        "models": {f"model-{number}": source for number in range(n_models)},
        "datasets": {name: {"source": "file", "path": str(PAIRS)} for name in ("one", "other")},
        "words": {"source": "file", "path": str(WORDS)},
        "injection": {"memories": ["curated", "nouns"], "encodings": ["unembed", "embed"], "magnitudes": [1]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    command = [sys.executable, "-m", "cProfile", "-o", "profile", "-m", "snakemake", "--dry-run", "--configfile"]
    options = ["config.yaml", "--snakefile", str(ROOT / "workflow" / "Snakefile"), "--cores", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([*command, *options], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    (jobs,) = set(re.findall(r"^total +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    return int(jobs), pstats.Stats(str(folder / "profile")).total_calls  # type: ignore[attr-defined]


def test_planning_is_linear_in_the_number_of_models(tmp_path: Path) -> None:
    jobs, calls = zip(*(plan(tmp_path, n_models) for n_models in (4, 12, 36)), strict=True)
    per_model = [(jobs[1] - jobs[0]) / 8, (jobs[2] - jobs[1]) / 24]
    assert per_model[0] == per_model[1] > 10
    calls_per_job = [(calls[1] - calls[0]) / (jobs[1] - jobs[0]), (calls[2] - calls[1]) / (jobs[2] - jobs[1])]
    assert calls_per_job[1] < 1.3 * calls_per_job[0]
