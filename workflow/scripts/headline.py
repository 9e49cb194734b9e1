"""The sites that the paper reports, by every rule of averaging, and the prompts that decide there."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.paper.headline import trace_headline
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        headline, prompts = trace_headline(index_sweeps(map(Path, job.input)), job.params.paper)
        write_csv(headline, Path(job.output.headline))
        write_csv(prompts, Path(job.output.prompts))
