"""The cells of one sweep, out of all jobs' parts: one kind of memory in one encoding."""

from pathlib import Path

from _job import start_job
from memory_injections.sweeps.cells import gather_sweep
from memory_injections.sweeps.identity import SweepId

if __name__ == "__main__":
    with start_job(globals()) as job:
        gather_sweep(list(map(Path, job.input)), SweepId.parse(**job.wildcards), Path(job.output[0]))
