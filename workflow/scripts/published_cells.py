"""The cells of one sweep of the authors."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from memory_injections.cells import SCHEMA
from memory_injections.files import job_log, whole_file
from memory_injections.published import PublishedSweep, iterate_cells

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        sweep = PublishedSweep(**snakemake.params.sweep)
        with whole_file(Path(snakemake.output[0])) as path, pq.ParquetWriter(path, SCHEMA) as writer:
            for cells in iterate_cells(sweep):
                writer.write_table(pa.Table.from_pandas(cells, SCHEMA, preserve_index=False))
