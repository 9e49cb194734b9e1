"""Effects at sites chosen on other prompts, with intervals and tests, and contrasts with random words."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.evidence import assess_sweeps
from memory_injections.analysis.table_files import write_table
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.paper.reported import find_reported_site, read_numbers
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        sweeps = index_sweeps(map(Path, job.input.cells))
        numbers = read_numbers(Path(job.input.paper))
        reported = {sweep: find_reported_site(sweep, numbers) for sweep in sweeps}
        tables = assess_sweeps(sweeps, index_pairs(map(Path, job.input.pairs)), reported, job.params.seed)
        for path in map(Path, job.output):
            write_table(tables[path.stem], path)
