#!/usr/bin/env python3
"""Submit one of Snakemake's jobs to PBS Pro on Polaris and print the id that PBS gives it."""

import argparse
import subprocess
import sys
from pathlib import Path

# A job always gets a whole node, and PBS would leave one that asks for more than this in the queue for ever.
NODE = {"threads": 64, "gpu": 4, "mem_mb": 540_000}
# No queue takes a shorter job.
LEAST_MINUTES = 5
# PBS makes no folders, and holds a job whose output has nowhere to go.
LOGS = Path("logs/pbs")


def arguments() -> argparse.Namespace:
    """What the profile says of a job, and the script that Snakemake wrote for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("rule", "account", "queue", "filesystems"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("threads", "gpu", "mem-mb", "runtime"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("script")
    return parser.parse_args()


def qsub(job: argparse.Namespace) -> list[str]:
    """The command that submits a job."""
    gpus = f":ngpus={job.gpu}" if job.gpu else ""
    hours, minutes = divmod(max(job.runtime, LEAST_MINUTES), 60)
    return [
        "qsub",
        *("-N", job.rule),
        *("-A", job.account),
        *("-q", job.queue),
        *("-l", f"select=1:system=polaris:ncpus={job.threads}{gpus}"),
        *("-l", f"walltime={hours:02}:{minutes:02}:00"),
        *("-l", f"filesystems={job.filesystems}"),
        # ALCF allows nothing else: output is written where it belongs while the job runs.
        *("-k", "doe"),
        # One file a job, named after its id.
        *("-j", "oe"),
        *("-o", f"{LOGS}/"),
        # A preempted job comes back under the same id. It may: it replaces its outputs, and finished cells stay.
        *("-r", "y"),
        job.script,
    ]


def main() -> None:
    """Submit the job, or end with one sentence that says why not."""
    job = arguments()
    if not job.account:
        sys.exit("no account: write the ALCF project that pays into workflow/profiles/polaris/profile.yaml")
    for resource, limit in NODE.items():
        if getattr(job, resource) > limit:
            sys.exit(f"rule {job.rule} asks for {resource}={getattr(job, resource)}, but a node has {limit}")
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(qsub(job), text=True, capture_output=True)
    except FileNotFoundError:
        sys.exit("there is no qsub here: run Snakemake on a login node of Polaris")
    if done.returncode != 0:
        sys.exit(f"PBS does not take the job of rule {job.rule}: {' '.join(done.stderr.split())}")
    print(done.stdout.strip())


if __name__ == "__main__":
    main()
