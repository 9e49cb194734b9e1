"""Table 2: example prompt pairs with what their most telling heads say, and how many prompts have a telling head."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.analysis.tables import build_table2, count_telling_heads
from memory_injections.data.prompt_pairs import index_pairs

if __name__ == "__main__":
    with start_job(globals()) as job:
        top, targets = (list(map(Path, paths)) for paths in (job.input.top, job.input.targets))
        pairs = index_pairs(map(Path, job.input.pairs))
        write_table(build_table2(zip(top, targets, strict=True), pairs), Path(job.output[0]))
        write_table(count_telling_heads(targets), Path(job.output[1]))
