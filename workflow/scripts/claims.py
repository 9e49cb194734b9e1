"""The claims of the paper, with a verdict each."""

from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.paper.claims import judge_claims
from memory_injections.paper.coverage import read_flags

if __name__ == "__main__":
    with start_job(globals()) as job:
        tables = {Path(path).stem: pd.read_csv(path) for path in job.input.tables}
        flags = {sweep: flag for path in job.input.coverage for sweep, flag in read_flags(pd.read_csv(path)).items()}
        write_csv(judge_claims(tables, job.params.paper, flags), Path(job.output[0]))
