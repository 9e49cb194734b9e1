"""Jobs that a killed run left in a cluster's queue are found by the folder that they were submitted from."""

import os
from pathlib import Path

import pytest
from memory_injections.jobs.earlier_runs import LiveJobsError, check_no_live_jobs

RUN = "9079dea3-cc6e-46aa-9dda-53a568a979cc"


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins for a scheduler's commands, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return folder


def answer(scheduler: Path, command: str, *lines: str, status: int = 0) -> None:
    """Let a command print some lines."""
    said = "\n".join(lines)
    script = scheduler / command
    script.write_text(f"#!/bin/sh\ncat <<'EOF'\n{said}\nEOF\nexit {status}\n", encoding="utf-8")
    script.chmod(0o755)


def test_jobs_in_slurms_queue(scheduler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(
        scheduler, "squeue",
        f"11|{RUN}|{tmp_path}", f"12|lab_{RUN}|{tmp_path}", f"13|{RUN}|{tmp_path}/elsewhere", f"14|bash|{tmp_path}",
    )  # fmt: skip
    with pytest.raises(LiveJobsError, match=r"Slurm job 11, Slurm job 12 of it are still .*: scancel 11; scancel 12$"):
        check_no_live_jobs(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "11")  # the job that this run is in
    with pytest.raises(LiveJobsError, match="Slurm job 12 of it is still at work here"):
        check_no_live_jobs(tmp_path)


def test_jobs_in_the_queue_of_pbs(scheduler: Path, tmp_path: Path) -> None:
    answer(scheduler, "qselect", "21.polaris", "22.polaris")
    answer(
        scheduler, "qstat",
        f"Job Id: 21.polaris|Job_Name=cells|Output_Path=login:{tmp_path}/logs/pbs/|queue=debug",
        f"Job Id: 22.polaris|Job_Name=cells|Output_Path=login:{tmp_path}/elsewhere/logs/pbs/|queue=debug",
    )  # fmt: skip
    with pytest.raises(LiveJobsError, match=r"PBS job 21\.polaris of it is still .*: qdel 21\.polaris$"):
        check_no_live_jobs(tmp_path)


def test_a_scheduler_that_is_silent_stops_no_run(scheduler: Path, tmp_path: Path) -> None:
    answer(scheduler, "squeue", f"11|{RUN}|{tmp_path}", status=1)
    answer(scheduler, "qselect", status=162)
    check_no_live_jobs(tmp_path)
