"""Table 3: the best sites of curated memories, with random memories at the same sites."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.analysis.tables import build_table3
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        write_table(build_table3(index_sweeps(map(Path, job.input))), Path(job.output[0]))
