"""What the authors' published files cover."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.checksums import guard_unchanged
from memory_injections.paper.coverage import build_coverage
from memory_injections.sweeps.identity import SweepId

if __name__ == "__main__":
    with start_job(globals()) as job:
        surveyed = json.loads(Path(job.input.inventory).read_text(encoding="utf-8"))["sweeps"]
        sweeps = {SweepId.from_path(path): files for path, files in surveyed.items()}
        with guard_unchanged(job.params.checksums):
            write_table(build_coverage(sweeps, job.params.grid), Path(job.output[0]))
