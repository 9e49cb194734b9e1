"""Snakemake, as on the command line, that asks Slurm for its jobs every second.

The executor waits ten seconds longer after each look at jobs that still run, which spares large clusters; a test would
wait for nothing.
"""

from collections.abc import AsyncGenerator
from typing import Any

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

check_jobs = Executor.check_active_jobs


async def check_often(executor: Executor, jobs: list[Any]) -> AsyncGenerator[Any, None]:
    """Look at the jobs as ever, and again in a second."""
    async for job in check_jobs(executor, jobs):
        yield job
    executor.next_seconds_between_status_checks = 1


Executor.check_active_jobs = check_often

if __name__ == "__main__":
    main()
