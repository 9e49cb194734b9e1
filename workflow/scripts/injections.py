"""The cells of one sweep, out of all jobs' parts: one kind of memory in one encoding."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from memory_injections.cells import SCHEMA
from memory_injections.files import job_log, whole_file

PROMPTS_AT_ONCE = 1000

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        cells = ds.dataset(list(snakemake.input), schema=SCHEMA)
        sweep = {name: snakemake.params[name] for name in ("memories", "encoding")}
        schema = pa.schema([field for field in SCHEMA if field.name not in sweep])
        as_text = pa.schema(
            [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
        )
        is_in_sweep = (ds.field("memories") == sweep["memories"]) & (ds.field("encoding") == sweep["encoding"])
        n_prompts = pc.max(cells.to_table(columns=["prompt_id"])["prompt_id"]).as_py() + 1
        writer = None
        with whole_file(Path(snakemake.output[0])) as path:
            for start in range(0, n_prompts, PROMPTS_AT_ONCE):
                prompt = ds.field("prompt_id")
                is_here = is_in_sweep & (prompt >= start) & (prompt < start + PROMPTS_AT_ONCE)
                table = cells.to_table(columns=schema.names, filter=is_here).cast(as_text)
                # Words are numbered anew, in the order of the rows: the file does not tell how many jobs it is from.
                table = table.sort_by([(name, "ascending") for name in ("prompt_id", "layer", "magnitude")]).cast(
                    schema
                )
                writer = writer or pq.ParquetWriter(path, table.schema)
                writer.write_table(table)
            writer.close()
