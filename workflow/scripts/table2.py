"""Table 2: example prompt pairs with what their most telling heads say."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.analysis.tables import build_table2
from memory_injections.data.prompt_pairs import index_pairs

if __name__ == "__main__":
    with start_job(globals()) as job:
        readings = zip(map(Path, job.input.top), map(Path, job.input.targets), strict=True)
        write_table(build_table2(readings, index_pairs(map(Path, job.input.pairs))), Path(job.output[0]))
