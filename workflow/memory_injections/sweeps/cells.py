"""The columns of a table of cells.

A *cell* is one prompt with one memory injected into one layer at one magnitude (paper, sections 3.3 and 4); a
*sweep* is the cells of every prompt for one kind of memory in one encoding.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import and_
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from memory_injections.atomic_files import replace_file
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId
from memory_injections.terms import FIRST_TOKEN, WHOLE_ANSWER, Outcome

# What a cell's numbers depend on, besides the model and the code: `prompt` stands for obscure prompt and answer.
KEY = ["prompt", "encoding", "memory", "layer", "magnitude"]
SCORES = {
    "p_obscure": pa.float32(),
    "p_injected": pa.float32(),
    "rank_obscure": pa.int32(),
    "rank_injected": pa.int32(),
    "logp_obscure": pa.float32(),
    "logp_injected": pa.float32(),
    "kl": pa.float32(),
    "top_token_id": pa.int32(),
}
# The log-probability of the whole answer, of cells that are scored so; that of the best one, if the answer has aliases.
WHOLE_SCORES = {"logp_whole_obscure": pa.float32(), "logp_whole_injected": pa.float32()}
# How many prompts are in memory at a time.
PROMPTS_AT_ONCE = 1000
_TEXT = pa.dictionary(pa.int32(), pa.string())
_SITE = [("layer", pa.int16()), ("magnitude", pa.float64()), ("memory", _TEXT)]
STORE_SCHEMA = pa.schema([("prompt", _TEXT), ("encoding", _TEXT), *_SITE, *SCORES.items()])
# Cells of controls tell what happens to the whole answer, and to other answers, too.
SCORES_OF_CONTROLS = {**SCORES, **WHOLE_SCORES, "logp_others": pa.float32()}
SCHEMA = pa.schema(
    [
        *((name, pa.bool_() if name == "relative" else _TEXT) for name in ID_COLUMNS),
        ("prompt_id", pa.int32()),
        *_SITE,
        ("p_explicit", pa.float32()),
        *SCORES.items(),
        *WHOLE_SCORES.items(),
        ("top_token", _TEXT),
    ]
)


def spell_out_texts(schema: pa.Schema) -> pa.Schema:
    """Return the same columns with plain texts instead of dictionaries."""
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    )


def read_sweep_id(cells: Path) -> SweepId:
    """Read which sweep a table of cells holds, from its first row."""
    (row,) = next(pq.ParquetFile(cells).iter_batches(batch_size=1, columns=ID_COLUMNS)).to_pylist()
    return SweepId(**row)


def index_sweeps(tables: Iterable[Path]) -> dict[SweepId, Path]:
    """Map each sweep to the table that holds its cells."""
    return {read_sweep_id(path): path for path in tables}


def gather_sweep(parts: Sequence[Path], sweep: SweepId, output: Path) -> None:
    """Write the cells of one sweep from all jobs' parts, sorted by prompt, layer and magnitude."""
    cells = ds.dataset(list(parts), schema=SCHEMA)
    as_text = spell_out_texts(SCHEMA)
    is_in_sweep = reduce(and_, (ds.field(name) == value for name, value in sweep.columns.items()))
    prompt = ds.field("prompt_id")
    n_prompts = pc.max(cells.to_table(columns=["prompt_id"])["prompt_id"]).as_py() + 1
    writer = None
    with replace_file(output) as path:
        for start in range(0, n_prompts, PROMPTS_AT_ONCE):
            is_here = is_in_sweep & (prompt >= start) & (prompt < start + PROMPTS_AT_ONCE)
            table = cells.to_table(filter=is_here).cast(as_text)
            # Dictionaries are rebuilt in the order of the rows, so that the file does not depend on the number of jobs.
            table = table.sort_by([(name, "ascending") for name in ("prompt_id", "layer", "magnitude")]).cast(SCHEMA)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def read_cells(cells: Path, columns: Sequence[str], outcome: Outcome = FIRST_TOKEN) -> pd.DataFrame:
    """Read some columns of a table of cells; by the outcome `whole_answer`, logp_* are those of the whole answer."""
    if outcome != WHOLE_ANSWER:
        return pd.read_parquet(cells, columns=list(columns))
    whole = {name.replace("whole_", ""): name for name in WHOLE_SCORES}
    table = pd.read_parquet(cells, columns=[whole.get(name, name) for name in columns])
    return table.rename(columns={name: ours for ours, name in whole.items()})


def find_sweep_id(cells: pd.DataFrame) -> SweepId:
    """Return which sweep these cells belong to, from the first row."""
    return SweepId(**cells.iloc[0][ID_COLUMNS].to_dict())
