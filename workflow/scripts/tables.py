"""The tables of one registered job."""

from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.tables.registry import list_table_jobs

if __name__ == "__main__":
    with start_job(globals()) as job:
        # Not the rule's name: a workflow that has this one as a module may rename its rules.
        _, function = job.params.code
        registered = list_table_jobs()[function.rpartition(".")[2]]
        inputs = {name: list(map(Path, job.input[name])) for name in registered.reads}
        made = registered.load()(**inputs, **{name: job.params[name] for name in registered.takes})
        tables = {registered.name: made} if isinstance(made, pd.DataFrame) else made
        for path in map(Path, job.output):
            write_table(tables[path.stem], path)
