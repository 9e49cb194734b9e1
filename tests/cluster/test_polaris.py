"""The profile for PBS Pro on Polaris, with stand-ins for qsub, qstat and qdel because no PBS server was available."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

PROFILE = ROOT / "workflow" / "profiles" / "polaris"
ANSWERS = Path(__file__).parent / "polaris"
JOB = "7300001.polaris-pbs-01.hsn.cm.polaris.alcf.anl.gov"
SUBMISSION: dict[str, Any] = {
    "rule": "inject", "threads": 32, "gpu": 1, "mem-mb": 64000, "runtime": 150, "account": "MyProject",
    "queue": "preemptable", "filesystems": "home:eagle",
}  # fmt: skip
SNAKEFILE = """
localrules: all
rule all:
    input: "summary.txt"
rule inject:
    output: "cells.txt"
    resources: gpu=1, runtime=lambda wildcards, attempt: 90 * attempt
    shell: "test {resources.runtime} -gt 90 && echo {resources.gpu} > {output}"
rule summarise:
    input: "cells.txt"
    output: "summary.txt"
    threads: 2
    shell: "cp {input} {output}"
"""
GPU_JOB = (
    "qsub -N inject -A MyProject -q preemptable -l select=1:system=polaris:ncpus=32:ngpus=1 -l walltime=01:30:00 "
    "-l filesystems=home:eagle -k doe -j oe -o logs/pbs/ -r y"
)
CPU_JOB = (
    "qsub -N summarise -A MyProject -q preemptable -l select=1:system=polaris:ncpus=2 -l walltime=01:00:00 "
    "-l filesystems=home:eagle -k doe -j oe -o logs/pbs/ -r y"
)

Pbs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Folder in which each stand-in records its calls in a file of its own."""
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


@pytest.fixture
def pbs(tmp_path: Path, calls: Path) -> Pbs:
    """Run a command in a temporary folder with the stand-ins as PBS: `pbs(*command, **environment)`."""

    def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=with_stand_ins(calls, **environment), **CAPTURED)

    return run


CAPTURED: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 120}


def with_stand_ins(calls: Path, **environment: str) -> dict[str, str]:
    """An environment with the stand-ins first on `PATH`."""
    path = os.pathsep.join([str(ANSWERS / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "FAKE_PBS": str(calls), "FAKE_ANSWERS": str(ANSWERS), **environment}


@pytest.mark.parametrize(
    ("answer", "word", "sentence"),
    [
        ("queued", "running", ""),
        ("running", "running", ""),
        ("held", "running", "PBS holds the job; .* job held, too many failed attempts to run"),
        ("finished-0", "success", ""),
        ("finished-0-invalid-json", "success", ""),
        ("finished-1", "failed", "exit status 1: .* and failed"),
        ("finished-271", "failed", "exit status 271: .* and terminated"),
        ("finished-minus-29", "failed", "exit status -29: "),
        ("deleted-while-queued", "failed", "exit status None: .* and terminated"),
        ("unknown-job", "failed", "PBS does not know the job"),
        ("scheduler-down", "running", "cannot be asked, .*: Connection refused qstat: cannot connect to server"),
        ("cut-off", "running", "cannot be asked, .*: its answer has no job_state"),
    ],
)
def test_status(answer: str, word: str, sentence: str, pbs: Pbs, calls: Path) -> None:
    done = pbs(PROFILE / "status.py", JOB, FAKE_ANSWER=answer)
    assert (done.returncode, done.stdout) == (0, word + "\n")
    assert re.fullmatch(f"job {JOB}: .*{sentence}.*\n" if sentence else "", done.stderr)
    assert (calls / "qstat").read_text() == f"qstat -x -f -F json {JOB}\n"


@pytest.mark.parametrize("state", "BEMQRSTUW")
def test_every_state_but_finished_is_running(state: str, tmp_path: Path, pbs: Pbs) -> None:
    answer = (ANSWERS / "running.json").read_text().replace('"job_state":"R"', f'"job_state":"{state}"')
    (tmp_path / "any.json").write_text(answer)
    done = pbs(PROFILE / "status.py", JOB, FAKE_ANSWER="any", FAKE_ANSWERS=str(tmp_path))
    assert (done.stdout, done.stderr) == ("running\n", "")


def test_qstat_that_hangs_fails_no_job(tmp_path: Path, pbs: Pbs) -> None:
    patient = (PROFILE / "status.py").read_text()
    (tmp_path / "status.py").write_text(patient.replace("QSTAT_SECONDS = 30", "QSTAT_SECONDS = 1"))
    (tmp_path / "qstat").write_text("#!/bin/sh\nexec sleep 20\n")
    (tmp_path / "qstat").chmod(0o755)
    start = time.monotonic()
    done = pbs(sys.executable, "status.py", JOB, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.stdout == "running\n"
    assert "timed out after 1 seconds" in done.stderr
    assert time.monotonic() - start < 10


def submit(pbs: Pbs, change: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run submit.py on a job like SUBMISSION with some changes."""
    options = [word for name, value in (SUBMISSION | change).items() for word in (f"--{name}", str(value))]
    return pbs(PROFILE / "submit.py", *options, "job.sh", FAKE_ANSWER="queued", **environment)


def test_submission(tmp_path: Path, pbs: Pbs, calls: Path) -> None:
    done = submit(pbs, {})
    assert (done.returncode, done.stdout, done.stderr) == (0, JOB.replace("7300001", "1") + "\n", "")
    assert (calls / "qsub").read_text() == GPU_JOB.replace("01:30", "02:30") + " job.sh\n"
    assert (tmp_path / "logs" / "pbs").is_dir()


@pytest.mark.parametrize(("minutes", "walltime"), [(1, "00:05:00"), (59, "00:59:00"), (4320, "72:00:00")])
def test_walltime(minutes: int, walltime: str, pbs: Pbs, calls: Path) -> None:
    assert submit(pbs, {"runtime": minutes}).returncode == 0
    assert f" -l walltime={walltime} " in (calls / "qsub").read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"account": ""}, "no account: write the ALCF project that pays into workflow/profiles/polaris/profile.yaml"),
        ({"threads": 65}, "rule inject asks for threads=65, but a node has 64"),
        ({"gpu": 5}, "rule inject asks for gpu=5, but a node has 4"),
        ({"mem-mb": 600_000}, "rule inject asks for mem_mb=600000, but a node has 540000"),
    ],
)
def test_what_cannot_be_submitted(change: dict[str, Any], sentence: str, pbs: Pbs, calls: Path) -> None:
    done = submit(pbs, change)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")
    assert not (calls / "qsub").exists()


def test_refused_submission(pbs: Pbs) -> None:
    done = submit(pbs, {}, FAKE_REFUSAL="qsub: Unknown queue\n")
    sentence = "PBS does not take the job of rule inject: qsub: Unknown queue\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_no_qsub(pbs: Pbs) -> None:
    done = submit(pbs, {}, PATH=str(Path(sys.executable).parent))
    assert (done.returncode, done.stderr) == (1, "there is no qsub here: run Snakemake on a login node of Polaris\n")


def test_profile_has_every_setting_of_the_default_one() -> None:
    default = yaml.safe_load((ROOT / "workflow/profiles/default/profile.yaml").read_text())
    polaris = yaml.safe_load((PROFILE / "profile.yaml").read_text())
    assert {key: polaris.get(key) for key in default} == default


def test_documented_submissions_are_the_real_ones() -> None:
    text = (ROOT / "docs" / "clusters.md").read_text().replace(" \\\n    ", " ")
    assert GPU_JOB in text
    assert CPU_JOB in text


@pytest.fixture
def command(tmp_path: Path, python: Path) -> list[str]:
    """Snakemake on two rules, with the profile as a user has it after setting the account."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="pip install -e '.[cluster]' is missing")
    profile = tmp_path / "workflow" / "profiles" / "polaris"
    shutil.copytree(PROFILE, profile)
    config = (profile / "profile.yaml").read_text()
    (profile / "profile.yaml").write_text(config.replace('account: ""', "account: MyProject"))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    # The profile checks only once a minute.
    pace = ["--seconds-between-status-checks", "1"]
    return [str(python), "-m", "snakemake", "--workflow-profile", "workflow/profiles/polaris", *pace]


def submissions(calls: Path) -> list[str]:
    """The calls of qsub, without the script that Snakemake wrote for each job."""
    return [line.rsplit(" ", 1)[0] for line in (calls / "qsub").read_text().splitlines()]


def test_run(command: list[str], tmp_path: Path, pbs: Pbs, calls: Path) -> None:
    done = pbs(*command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "summary.txt").read_text() == "1\n"
    assert submissions(calls) == [GPU_JOB, GPU_JOB.replace("01:30", "03:00"), CPU_JOB]
    assert "exit status 1" in done.stderr


def test_a_job_that_always_fails_ends_the_run(command: list[str], pbs: Pbs, calls: Path) -> None:
    done = pbs(*command, FAKE_ANSWER="finished-271")
    assert done.returncode == 1
    walltimes = [re.findall(r"walltime=(\S+)", call) for call in submissions(calls)]
    assert walltimes == [["01:30:00"], ["03:00:00"], ["04:30:00"]]


def test_ctrl_c_deletes_the_jobs(command: list[str], tmp_path: Path, calls: Path) -> None:
    environment, screen = with_stand_ins(calls, FAKE_ANSWER="running"), tmp_path / "screen"
    with screen.open("w") as output:
        snakemake = subprocess.Popen(
            [sys.executable, *command[1:], "--seconds-between-status-checks", "5"],
            cwd=tmp_path, env=environment, start_new_session=True, stderr=output,
        )  # fmt: skip
    wait_for(calls / "qstat")
    # Snakemake does not cancel a job whose status it is checking, which takes a fraction of a second here.
    time.sleep(1)
    os.killpg(snakemake.pid, signal.SIGINT)
    assert snakemake.wait(timeout=60) == 1
    wait_for(calls / "qdel")
    assert (calls / "qdel").read_text() == f"qdel {JOB.replace('7300001', '1')}\n"
    assert "cluster-cancel failed" not in screen.read_text()


def wait_for(path: Path) -> None:
    """Wait until a file exists and is not empty."""
    for _ in range(600):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")
