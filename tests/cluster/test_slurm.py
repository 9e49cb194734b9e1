"""The slurm profile on a real Slurm: `make test-slurm` on a machine with `sbatch` and partitions `main` and `gpu`."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT, Run, tiny_study

pytestmark = pytest.mark.slurm
PROFILE = ROOT / "workflow" / "profiles" / "slurm"
(SETTINGS,) = PROFILE.glob("*.yaml")
SNAKEMAKE = Path(__file__).with_name("frequent_checks.py")
CELLS = "results/tiny/cells/tiny/pairs/1-of-1.parquet"
TABLE = "results/tiny/tables/table3.csv"
FIGURE, OTHER = (f"results/tiny/figures/effect.tiny.pairs.{memories}.unembed.png" for memories in ("curated", "nouns"))
TARGETS = (TABLE, FIGURE, OTHER)


def output(*command: str) -> str:
    """Run a command and return its output."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", autouse=True)
def slurm() -> None:
    """Skip the tests where no Slurm answers."""
    if shutil.which("sbatch") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("needs a real Slurm")


class Submitted:
    """A running Snakemake that uses the profile, and its output."""

    def __init__(self, folder: Path, study: dict[str, Any], *arguments: str) -> None:
        (folder / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        self.folder, self.log = folder, folder / "snakemake.txt"
        # A one-node cluster answers at once; the profile's longer waits are for large clusters. A tiny model's job
        # takes one core, so that two run at a time.
        haste = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
        haste += ["--set-threads", *(f"{rule}=1" for rule in yaml.safe_load(SETTINGS.read_text())["set-threads"])]
        command = [sys.executable, str(SNAKEMAKE), "--snakefile", str(ROOT / "workflow" / "Snakefile"), *arguments]
        settings = ["--workflow-profile", str(PROFILE), *haste, "--latency-wait", "5", "--configfile", "config.yaml"]
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [*command, *settings], cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                # Tests that run in the background ignore Ctrl-C, and so would Snakemake.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def said(self) -> str:
        """Everything that Snakemake has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def jobs(self, rule: str = "") -> list[str]:
        """The Slurm ids of a rule's jobs, in the order of submission."""
        return re.findall(rf"SLURM jobid (\d+) \(log: \S*/(?:rule|group)_{rule}", self.said())

    def until(self, happened: Callable[[], Any], seconds: float = 200) -> Any:
        """Wait until something has happened, as long as Snakemake is running."""
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert self.process.poll() is None, self.said()[-3000:]
            assert time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(0.5)
        return found

    def until_saved(self) -> None:
        """Wait until some finished cells are on disk, more than there were."""
        store = self.folder / "results/shared/cells"
        before = len(list(store.rglob("[0-9]*.parquet")))
        self.until(lambda: len(list(store.rglob("[0-9]*.parquet"))) > before)

    def signal_script(self, name: str) -> None:
        """Send a signal to the script of the cells, once it runs."""
        script = f"{self.folder}/.snakemake/scripts/.*inject.py"
        self.until(lambda: subprocess.run(["pkill", f"-{name}", "-f", script]).returncode == 0)

    def running(self, rule: str, attempt: int) -> str:
        """Wait until an attempt of a rule's job is running; return its Slurm id."""

        def found() -> str | None:
            job = self.jobs(rule)[attempt - 1] if len(self.jobs(rule)) >= attempt else None
            return job if job and "RUNNING" in output("squeue", "-h", "-j", job, "-o", "%T") else None

        return self.until(found)


@pytest.fixture
def submit() -> Iterator[Callable[..., Submitted]]:
    """Start Snakemake on a study; whatever is still running after the test is stopped."""
    started: list[Submitted] = []

    def start(*arguments: Any) -> Submitted:
        started.append(Submitted(*arguments))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
        for job in run.jobs():
            subprocess.run(["scancel", job], capture_output=True)


def test_same_results_as_locally(
    tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run, submit: Callable[..., Submitted]
) -> None:
    study = tiny_study(tiny_models["llama"], mechanisms=False, walkthrough=False)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    run = submit(there, study, *TARGETS)
    assert snakemake(here, study, TABLE).returncode == 0
    assert run.process.wait(timeout=600) == 0, run.said()[-3000:]
    # Small jobs are grouped; downloads and small tables are not submitted at all.
    assert len(run.jobs()) == 6
    gpu_jobs = {rule: output("scontrol", "show", "job", run.jobs(rule)[0]) for rule in ("activations", "inject")}
    for about in gpu_jobs.values():
        assert re.search(r"Partition=gpu", about)
        assert re.search(r"gres:gpu:1|TresPerJob=\S*gpu:1|gres/gpu=1", about)
    for table in ("injections/tiny/pairs/curated.unembed.parquet", "injections/tiny/pairs/nouns.unembed.parquet"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(folder / "results/tiny" / table) for folder in (here, there)))
    assert (there / TABLE).read_text() == (here / TABLE).read_text()
    assert (there / FIGURE).is_file()
    again = submit(there, study, *TARGETS)
    assert again.process.wait(timeout=60) == 0
    assert "Nothing to be done" in again.said()


# Enough for cells to be on disk (after half a minute) several times while others are not computed yet.
N_MAGNITUDES = 400
N_CELLS = 72 * 3 * N_MAGNITUDES


def make_study(model: Path, n_magnitudes: int = N_MAGNITUDES) -> dict[str, Any]:
    """A study of all prompts, whose cells take some minutes."""
    magnitudes = [n / 100 for n in range(1, n_magnitudes + 1)]
    study = tiny_study(model, injection={"encodings": ["unembed"], "magnitudes": magnitudes})
    study["datasets"]["pairs"].pop("rows")
    return study


@pytest.fixture(scope="module")
def finished_before(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, snakemake: Run) -> Path:
    """A folder with everything that the cells of such a study are made from."""
    folder = tmp_path_factory.mktemp("before")
    made = [
        "results/shared/models/tiny/processed_weights.safetensors",
        "results/shared/activations/tiny/pairs.bos.safetensors",
    ]
    done = snakemake(folder, make_study(tiny_models["llama"]), *made)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(finished_before: Path, tmp_path: Path) -> Path:
    """A copy of that folder, in which only the cells are left to do."""
    return shutil.copytree(finished_before, tmp_path / "study", symlinks=True)


def test_a_job_goes_on_where_it_was_after_every_kind_of_death(
    tiny_models: dict[str, Path], folder: Path, submit: Callable[..., Submitted]
) -> None:
    run = submit(folder, make_study(tiny_models["llama"]), CELLS, "--retries", "4")
    run.running("inject", attempt=1)
    run.until_saved()
    preempt(run)
    lose_node(run)
    # Either Slurm itself has run the job of the lost node again, or Snakemake has submitted it anew.
    n_submitted = len(run.jobs("inject"))
    late = run.jobs("inject")[-1]
    # It must not be finished before its time is up.
    run.signal_script("STOP")
    output("scontrol", "update", f"JobId={late}", "TimeLimit=1")
    cancelled = run.running("inject", attempt=n_submitted + 1)
    assert "TIMEOUT" in output("scontrol", "show", "job", late)
    output("scancel", cancelled)
    run.running("inject", attempt=n_submitted + 2)
    assert run.process.wait(timeout=600) == 0, run.said()[-3000:]
    asked = [int(minutes) for minutes in re.findall(r" gpu=1, .*runtime=(\d+)", run.said())]
    assert asked == [attempt * asked[0] for attempt in range(1, n_submitted + 3)]
    check_finished(folder)


def preempt(run: Submitted) -> None:
    """Take the job back, as Slurm does for another of higher priority, and wait until it runs again."""
    (job,) = run.jobs("inject")
    output("scontrol", "requeue", job)
    run.until(lambda: state_of(job) == "PENDING")
    run.until(lambda: is_running_again(run))


def lose_node(run: Submitted) -> None:
    """Take the node of the GPUs down, with its job, and bring it back; wait until the job runs again."""
    (node,) = output("sinfo", "-h", "-p", "gpu", "-o", "%n").split()
    (job,) = run.jobs("inject")
    output("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    run.until(lambda: state_of(job) != "RUNNING")
    # Where Slurm is set so (ReturnToService), the node may be back already, and this fails.
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], capture_output=True)
    run.until(lambda: is_running_again(run))


def is_running_again(run: Submitted) -> bool:
    """Whether the last job of the cells is running; one that Slurm puts off, for two minutes, starts at once."""
    job = run.jobs("inject")[-1]
    if state_of(job) == "PENDING":
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], capture_output=True)
    return state_of(job) == "RUNNING"


def state_of(job: str) -> str:
    """The state that Slurm shows for a job."""
    return output("squeue", "-h", "-j", job, "-o", "%T").strip()


def check_finished(folder: Path) -> None:
    """All cells are there, and the last attempt has computed only those that earlier ones had not saved."""
    log = (folder / "logs/tiny/cells/tiny/pairs/1-of-1.log").read_text(encoding="utf-8")
    known, computed = map(int, re.findall(r"(\d+) known, (\d+) computed", log)[-1])
    assert known > 0
    assert known + computed == N_CELLS
    cells = pd.read_parquet(folder / CELLS, columns=["prompt_id", "layer", "magnitude"])
    assert len(cells.drop_duplicates()) == len(cells) == N_CELLS


def test_a_job_killed_for_memory_comes_back_with_more(
    tiny_models: dict[str, Path], folder: Path, submit: Callable[..., Submitted]
) -> None:
    # PyTorch alone does not fit into the first request.
    memory = ("--set-resources", "inject:mem_mb=attempt**5*100")
    run = submit(folder, make_study(tiny_models["llama"], 2), CELLS, *memory)
    assert run.process.wait(timeout=300) == 0, run.said()[-3000:]
    first, *_, last = run.jobs("inject")
    assert re.search(r"JobState=(OUT_OF_MEMORY|CANCELLED|FAILED)", output("scontrol", "show", "job", first))
    asked = [output("squeue", "-h", "-t", "all", "-j", job, "-o", "%m").strip() for job in (first, last)]
    assert asked == ["100M", "3200M"]
    assert (folder / CELLS).exists()


@pytest.mark.parametrize(("job", "target"), [("table3", TABLE), ("drawing", FIGURE)])
def test_a_job_without_a_model_and_a_group_come_back_with_more(
    job: str, target: str, tiny_models: dict[str, Path], folder: Path, snakemake: Run, submit: Callable[..., Submitted]
) -> None:
    study = make_study(tiny_models["llama"], 1)
    assert snakemake(folder, study, "results/tiny/injections/tiny/pairs/curated.unembed.parquet").returncode == 0
    run = submit(folder, study, target)
    output("scancel", "--signal=KILL", run.running(job, attempt=1))
    assert run.process.wait(timeout=300) == 0, run.said()[-3000:]
    asked = [output("squeue", "-h", "-t", "all", "-j", slurm, "-o", "%m %l").split() for slurm in run.jobs(job)]
    (first, minutes), (second, more) = ((int(memory.rstrip("M")), time) for memory, time in asked)
    assert second == 2 * first >= 3000
    assert minutes != more


def test_a_full_disk_of_the_node_is_one_sentence_and_loses_nothing(
    tiny_models: dict[str, Path], folder: Path, submit: Callable[..., Submitted]
) -> None:
    store = folder / "results" / "shared" / "cells"
    store.mkdir(parents=True)
    output("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(store))
    study = make_study(tiny_models["llama"], 20)
    try:
        full = submit(folder, study, CELLS, "--retries", "0")
        assert full.process.wait(timeout=300) == 1
    finally:
        output("umount", str(store))
    assert "no space is left" in full.said()
    assert "Traceback" not in full.said()
    assert not (folder / CELLS).exists()
    again = submit(folder, study, CELLS)
    assert again.process.wait(timeout=300) == 0, again.said()[-3000:]
    assert len(pd.read_parquet(folder / CELLS)) == 72 * 3 * 20


def test_ctrl_c_cancels_the_jobs(tiny_models: dict[str, Path], folder: Path, submit: Callable[..., Submitted]) -> None:
    run = submit(folder, make_study(tiny_models["llama"]), CELLS)
    job = run.running("inject", attempt=1)
    run.signal_script("STOP")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=120) != 0
    assert "RUNNING" not in output("squeue", "-h", "-j", job, "-o", "%T")
    assert not (folder / CELLS).exists()


def test_no_run_starts_while_jobs_of_a_killed_one_are_in_the_queue(
    tiny_models: dict[str, Path], tmp_path: Path, submit: Callable[..., Submitted]
) -> None:
    """A stopped job of a killed run would remove the results of the next one when it goes on and fails."""
    study = tiny_study(tiny_models["llama"], mechanisms=False, walkthrough=False)
    run = submit(tmp_path, study, CELLS)
    job = run.running("inject", 1)
    run.signal_script("STOP")
    run.process.kill()
    run.process.wait()
    unlock = submit(tmp_path, study, "--unlock")
    assert unlock.process.wait(timeout=120) == 0, unlock.said()
    refused = submit(tmp_path, study, CELLS)
    assert refused.process.wait(timeout=120) == 1
    assert f"Slurm job {job} of it is still at work here" in refused.said()
    assert f"scancel {job}" in refused.said()
    subprocess.run(["scancel", "--signal=CONT", "--full", job])
    subprocess.run(["scancel", job], check=True)
    deadline = time.monotonic() + 60
    while job in output("squeue", "--me", "--noheader", "--format=%i") and time.monotonic() < deadline:
        time.sleep(1)
    again = submit(tmp_path, study, CELLS)
    assert again.process.wait(timeout=300) == 0, again.said()
    assert (tmp_path / CELLS).is_file()
