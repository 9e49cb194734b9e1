"""The sites that the paper reports, by every rule of averaging, and the prompts that decide there."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.paper.headline import trace_headline
from memory_injections.paper.reported import read_numbers
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        numbers = read_numbers(Path(job.input.paper))
        headline, prompts = trace_headline(index_sweeps(map(Path, job.input.cells)), numbers)
        write_table(headline, Path(job.output.headline))
        write_table(prompts, Path(job.output.prompts))
