"""The text check of all models and data sets: what was found how often, and every pair's tokens."""

from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.analysis.tables import count_text_checks, list_text_checks

if __name__ == "__main__":
    with start_job(globals()) as job:
        tables = [pd.read_parquet(path) for path in job.input]
        write_table(count_text_checks(tables), Path(job.output[0]))
        write_table(list_text_checks(tables), Path(job.output[1]))
