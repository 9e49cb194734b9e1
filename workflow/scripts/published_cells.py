"""The cells of one sweep of the authors."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from _job import start_job
from memory_injections.atomic_files import replace_file
from memory_injections.checksums import guard_unchanged
from memory_injections.paper.published import iterate_cells
from memory_injections.sweeps.cells import SCHEMA
from memory_injections.sweeps.identity import SweepId


def write_published(sweep: SweepId, files: Iterable[Path], output: Path) -> None:
    """Bring the files of a sweep into a table of cells."""
    with replace_file(output) as path, pq.ParquetWriter(path, SCHEMA) as writer:
        for cells in iterate_cells(sweep, files):
            writer.write_table(pa.Table.from_pandas(cells, SCHEMA, preserve_index=False))


if __name__ == "__main__":
    with start_job(globals()) as job, guard_unchanged(job.params.checksums):
        write_published(SweepId.parse(**job.wildcards), map(Path, job.input), Path(job.output[0]))
