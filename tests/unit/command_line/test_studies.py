"""Commands about studies, which `make` calls: what they print, and one sentence for what a user can correct."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_calls import run
from conftest import PAIRS, ROOT, tiny_study

UNKNOWN_MODEL = {"m": {"source": "pypi", "package": "some-model==1.0", "file": "m.gguf", "sha256": 64 * "0"}}
UNKNOWN_DATA = {"d": {"source": "url", "url": "https://a.org/b.csv", "sha256": 64 * "0"}}
PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


def write_config(folder: Path, study: dict[str, Any]) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return str(path)


def refuse(*arguments: str) -> str:
    """The one sentence with which a command ends."""
    done = run(*arguments, status=1)
    assert done.stdout == ""
    assert done.stderr.startswith("memory-injections: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip("\n")


def test_check_prints_the_name_of_the_study() -> None:
    assert run("check", str(ROOT / "config" / "paper.yaml")).stdout == "paper\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory); correct the path"),
        (bytes(range(256)), "is not text in UTF-8"),
        (b"study: 2024-99-99\n", "is neither YAML nor JSON"),
        (b"study: s\n", "config key models is missing"),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["plan"], ["bench"], ["crate", "results"]])
def test_one_sentence_for_a_wrong_config(
    content: bytes | None, sentence: str, command: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    name, *others = command
    assert sentence in refuse(name, str(path), *others)


def test_make_study_ends_with_that_sentence_before_snakemake_starts(tmp_path: Path) -> None:
    """With stand-ins for the environment, whose snakemake would leave a file."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(PYTHON, encoding="utf-8")
    (binaries / "snakemake").write_text('#!/bin/sh\necho "$@" > started\n', encoding="utf-8")
    for binary in binaries.iterdir():
        binary.chmod(0o755)
    command = ["make", "--makefile", str(ROOT / "Makefile")]
    for stamp in ("check-installed", "study-installed", "cluster-installed"):
        (tmp_path / ".venv" / stamp).touch()
        command += ["--old-file", f".venv/{stamp}"]

    def study(config: Path, *others: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "study", f"CONFIG={config}", *others], cwd=tmp_path, text=True, capture_output=True
        )

    wrong = study(tmp_path / "missing.yaml")
    assert wrong.returncode != 0
    assert "missing.yaml cannot be read (No such file or directory); correct the path" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (tmp_path / "started").exists()
    right = study(ROOT / "config" / "config.yaml")
    assert right.returncode == 0
    started = (tmp_path / "started").read_text()
    assert started.startswith("--cores all ")
    assert started.endswith("workflow/profiles/default\n")
    assert "results/demo/report.html" in right.stdout
    assert "no profile slum is in workflow/profiles" in study(ROOT / "config/config.yaml", "PROFILE=slum").stderr
    assert study(ROOT / "config/config.yaml", "PROFILE=slurm").returncode == 0
    started = (tmp_path / "started").read_text()
    assert "--cores" not in started
    assert started.endswith("workflow/profiles/slurm\n")


def make_planned(folder: Path, *arguments: str) -> str:
    """The commands that `make` would run in a folder."""
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    command = ["make", "--makefile", str(ROOT / "Makefile"), "--dry-run", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=True).stdout


def test_make_checks_a_config_before_it_installs_the_rest(tmp_path: Path) -> None:
    planned = make_planned(tmp_path, "study", f"CONFIG={ROOT}/config/config.yaml")
    steps = [" -m venv .venv", "psutil pydantic", " check ", "--editable .", "snakemake --cores"]
    places = [planned.index(step) for step in steps]
    assert places == sorted(places)
    assert "--quiet --constraint constraints.txt --editable ." not in planned


def test_make_builds_an_environment_anew_that_is_old_or_half_finished(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    rebuilt = "rm -rf .venv"
    for status, is_half, expected in ((0, False, False), (1, False, True), (0, True, True)):
        python.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
        python.chmod(0o755)
        mark = tmp_path / ".venv" / "installing"
        mark.touch() if is_half else mark.unlink(missing_ok=True)
        assert (rebuilt in make_planned(tmp_path, "install")) == expected
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.9.1 || exit 1\n', encoding="utf-8")
    old.chmod(0o755)
    command = ["make", "--makefile", str(ROOT / "Makefile"), f"PYTHON={old}", "install"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert "is Python 3.9.1, but 3.11 or later is needed; name one: make PYTHON=python3.13 install" in done.stderr
    assert (tmp_path / ".venv").exists()  # nothing was removed


def test_plan(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], attribution={"bos": False}))
    done = run("plan", config, "--gpu", "h100")
    jobs = re.findall(r"^(?:processed_weights|activations|attribution|cells) tiny.*", done.stdout, re.MULTILINE)
    assert len(jobs) == 5
    assert f" {4 * 3 * 2 * 2} " in jobs[-1]
    assert str(tiny_models["llama"]) in done.stdout
    assert str(PAIRS) in done.stdout
    assert "float32 at 44.4 TFLOP/s on h100" in done.stdout
    assert "clusters for 0.1 " in done.stdout
    assert "clusters for 0.5 " in run("plan", config, "--difference", "0.5").stdout


@pytest.mark.parametrize(
    ("arguments", "changes", "sentence"),
    [
        (["--gpu", "h1000"], {}, "no GPU 'h1000' is known; known: h100, a100-40"),
        ([], {"injection": {"layers": [5]}}, "config key injection.layers: layer 5 is out of range"),
        ([], {"shards": 9}, "config key shards: 9 jobs cannot share out 3 layers"),
        (["--gpu", "cpu"], {"precision": "bfloat16"}, "config key precision: no rate of bfloat16 is known for cpu"),
        ([], {"models": UNKNOWN_MODEL}, "is not known before it is fetched; .* --shared in which folder"),
        (
            ["--shared", "there"],
            {"models": UNKNOWN_MODEL},
            "fetch it with `snakemake --cores 1 there/models/m/manifest.json --configfile [^ ]+/study.yaml`$",
        ),
        ([], {"datasets": UNKNOWN_DATA}, "is not known before it is fetched; say it with --prompts$"),
        (
            ["--shared", "there"],
            {"datasets": UNKNOWN_DATA},
            "--prompts .`snakemake --cores 1 there/datasets/d.csv --configfile [^ ]+/study.yaml` fetches them",
        ),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_sentence(
    arguments: list[str], changes: dict[str, Any], sentence: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], **changes))
    assert re.search(sentence, refuse("plan", config, *arguments))


def test_prompts_stand_in_for_data_whose_size_nothing_tells(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], datasets=UNKNOWN_DATA))
    planned = run("plan", config, "--prompts", "50").stdout
    assert re.search(rf"^cells tiny/d +{50 * 3 * 2 * 2} ", planned, re.MULTILINE)


@pytest.mark.parametrize("command", ["plan", "bench"])
def test_a_re_analysis_runs_no_models(command: str, tmp_path: Path) -> None:
    published = {"source": "folder", "path": str(tmp_path)}
    config = write_config(tmp_path, {"study": "theirs", "published": published})
    assert "has no models: a re-analysis of published results runs none" in refuse(command, config)


@pytest.mark.slow
def test_bench(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["gpt2"]))
    assert "model 'gpt3' is not known here; known: gpt2, " in refuse("bench", config, "--model", "gpt3")
    small = ["--model", "gpt2", "--prompts", "2", "--layers", "1", "--magnitudes", "2"]
    command = [sys.executable, "-m", "memory_injections.command_line.cli", "bench", config, *small]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    head, row, *_ = done.stdout.splitlines()
    assert (head.split()[:3], row.split()[:3]) == (["model", "precision", "cells"], ["gpt2", "float32", "4"])
