"""Jobs that a run which was killed has left at work: processes of this host, and jobs in the queue of a cluster.

Such a job would still write its results, or remove those of a later run when it fails.
"""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from memory_injections.errors import StudyError

SECONDS_TO_ANSWER = 30
# Endings of the words by which Snakemake is started.
SNAKEMAKE = ("/snakemake", "/snakemake/__main__.py")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class LiveJob(NamedTuple):
    """A job at work, in words, and the command that ends it."""

    description: str
    ending: str


class LiveJobsError(StudyError):
    """Jobs of an earlier run are still at work."""

    def __init__(self, jobs: Sequence[LiveJob]) -> None:
        super().__init__(
            f"an earlier run was killed, and {', '.join(job.description for job in jobs)} of it "
            f"{'is' if len(jobs) == 1 else 'are'} still at work here; wait for that, or end it first: "
            + "; ".join(job.ending for job in jobs)
        )


def check_no_live_jobs(folder: Path) -> None:
    """Raise `LiveJobsError` if jobs that were started by Snakemake in a folder are at work.

    Call it only if Snakemake does not run there.
    """
    jobs = [*_list_processes(folder), *_list_slurm_jobs(folder), *_list_pbs_jobs(folder)]
    if jobs:
        raise LiveJobsError(jobs)


def _list_processes(folder: Path) -> Iterator[LiveJob]:
    """List processes of this host that run a folder's scripts without a Snakemake above them."""
    scripts = f"{folder}/.snakemake/scripts/"
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        # Snakemake copies `inject.py` to `tmp1a2b3c.inject.py`. A shell that runs it has it within a word.
        script = next((word.rpartition("/")[2] for word in command if word.startswith(scripts)), None)
        if script is not None and not _has_snakemake(process):
            yield LiveJob(f"process {process.pid} ({script.partition('.')[2]})", f"kill {process.pid}")


def _has_snakemake(process: psutil.Process) -> bool:
    """Return whether a Snakemake is above a process, or the process has ended meanwhile."""
    try:
        words = (word for parent in process.parents() for word in parent.cmdline())
        return any(word == "snakemake" or word.endswith(SNAKEMAKE) for word in words)
    except psutil.Error:
        return not process.is_running()


def _list_slurm_jobs(folder: Path) -> Iterator[LiveJob]:
    """List jobs submitted from a folder under the name that Snakemake gives all jobs of a run."""
    for line in _ask("squeue", "--noheader", "--format=%i|%j|%Z"):
        number, name, submitted_from = line.strip().split("|", 2)
        if Path(submitted_from) == folder and re.search(UUID, name) and number != os.environ.get("SLURM_JOB_ID"):
            yield LiveJob(f"Slurm job {number}", f"scancel {number}")


def _list_pbs_jobs(folder: Path) -> Iterator[LiveJob]:
    """List jobs whose output goes where the profile `polaris` sends it."""
    ids = [line.strip() for line in _ask("qselect", "-u", getpass.getuser())]
    for line in _ask("qstat", "-f", "-F", "dsv", *ids) if ids else ():
        number = re.match(r"Job Id: ([^|]+)", line)
        if number and re.search(rf"\|Output_Path=[^|]*:{re.escape(str(folder))}/logs/pbs/?", line):
            yield LiveJob(f"PBS job {number[1]}", f"qdel {number[1]}")


def _ask(*command: str) -> list[str]:
    """Return the lines that a scheduler answers; none if it is not there or silent, which must not stop a run."""
    if shutil.which(command[0]) is None:
        return []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
