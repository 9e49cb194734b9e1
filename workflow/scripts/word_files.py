"""Which layer the authors' random words at one site belong to."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.checksums import guard_unchanged
from memory_injections.paper.word_files import check_word_files
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        with guard_unchanged(job.params.checksums):
            table = check_word_files(map(Path, job.input.files), index_sweeps(map(Path, job.input.cells)))
        write_table(table, Path(job.output[0]))
