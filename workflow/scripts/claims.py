"""The claims of the paper, with a verdict each."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import read_table, write_table
from memory_injections.paper.claims import judge_claims
from memory_injections.paper.coverage import read_flags
from memory_injections.paper.reported import read_numbers

if __name__ == "__main__":
    with start_job(globals()) as job:
        tables = {Path(path).stem: read_table(Path(path)) for path in job.input.tables}
        flags = {
            sweep: flag for path in job.input.coverage for sweep, flag in read_flags(read_table(Path(path))).items()
        }
        write_table(judge_claims(tables, read_numbers(Path(job.input.paper)), flags), Path(job.output[0]))
