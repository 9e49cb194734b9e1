"""The cells of one sweep: one kind of memory in one encoding."""

from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from memory_injections.cells import SCHEMA
from memory_injections.files import job_log, whole_file

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        cells = ds.dataset(snakemake.input[0])
        sweep = {name: getattr(snakemake.wildcards, name) for name in ("memories", "encoding")}
        columns = [name for name in SCHEMA.names if name not in sweep]
        is_in_sweep = (ds.field("memories") == sweep["memories"]) & (ds.field("encoding") == sweep["encoding"])
        scanner = cells.scanner(columns=columns, filter=is_in_sweep)
        with (
            whole_file(Path(snakemake.output[0])) as path,
            pq.ParquetWriter(path, scanner.projected_schema) as writer,
        ):
            for batch in scanner.to_batches():
                writer.write_batch(batch)
