"""The store of finished cells: an interrupted sweep continues where it stopped, a larger one computes only new cells.

A store is a folder of small Parquet files, each written whole, so neither `kill -9` nor a power loss costs more
than the cells of the last half minute. Each is named after its contents, by which damage is noticed. Cells are found
again by what they depend on (`cells.KEY`); everything that all cells of a store depend on (weights, precision, code,
library versions) names the folder.
"""

import hashlib
import json
import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from memory_injections.atomic_files import replace_file
from memory_injections.checksums import set_aside
from memory_injections.sweeps.cells import KEY, SCORES, STORE_SCHEMA, spell_out_texts

logger = logging.getLogger(__name__)
# The largest number of cells that wait for the disk. A fast GPU computes more in half a minute than fits in memory.
MAX_WAITING = 50_000


class CellStore:
    """The finished cells of one model, one data set and one `context`; leaving its `with` block flushes it.

    `scores` are the types of the cells' scores by name.
    """

    def __init__(
        self,
        folder: Path,
        context: Mapping[str, Any],
        flush_seconds: float = 30.0,
        scores: Mapping[str, pa.DataType] = SCORES,
    ) -> None:
        self.scores = list(scores)
        self._schema = pa.schema([*STORE_SCHEMA, *((name, scores[name]) for name in scores if name not in SCORES)])
        text = json.dumps(context, indent=1, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        with replace_file(self.folder / "context.json") as path:
            path.write_text(text, encoding="utf-8")
        self._flush_seconds = flush_seconds
        self._waiting: list[pd.DataFrame] = []
        self._last_flush = time.monotonic()
        self._prompts_in: dict[Path, np.ndarray] = {}
        for part in sorted(self.folder.glob("*.parquet")):
            self._register(part, self._read(part, columns=["prompt"]))

    def __enter__(self) -> "CellStore":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.flush()

    def known(self, prompts: Collection[str]) -> pd.DataFrame:
        """Return the finished cells of some prompts, each once, by `KEY`, with their scores."""
        parts = [part for part, held in self._prompts_in.items() if np.isin(_shorten(prompts), held).any()]
        tables = [self._read(part, filters=[("prompt", "in", set(prompts))]) for part in parts]
        tables.append(self._schema.empty_table())
        cells = pa.concat_tables([table.cast(spell_out_texts(self._schema)) for table in tables]).to_pandas()
        return cells.drop_duplicates(KEY, ignore_index=True)

    def add(self, cells: pd.DataFrame) -> None:
        """Add finished cells; they are on disk within half a minute."""
        self._waiting.append(cells)
        is_due = time.monotonic() - self._last_flush >= self._flush_seconds
        if is_due or sum(map(len, self._waiting)) >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write waiting cells to disk."""
        self._last_flush = time.monotonic()
        if self._waiting:
            table = pa.Table.from_pandas(pd.concat(self._waiting), self._schema, preserve_index=False)
            self._waiting = []
            buffer = pa.BufferOutputStream()
            pq.write_table(table, buffer)
            contents = buffer.getvalue()
            part = self.folder / f"{time.time_ns()}-{xxhash.xxh3_128_hexdigest(contents)}.parquet"
            with replace_file(part) as path:
                path.write_bytes(contents)
            self._register(part, table)

    def _register(self, part: Path, table: pa.Table) -> None:
        self._prompts_in[part] = _shorten(pc.unique(table["prompt"]).to_pylist())

    def _read(self, part: Path, **options: Any) -> pa.Table:
        """Read a part; a damaged one is set aside, by this job or another, and empty."""
        contents = part.read_bytes() if part.is_file() else b""
        if part.stem.endswith(f"-{xxhash.xxh3_128_hexdigest(contents)}"):
            return pq.read_table(pa.BufferReader(contents), **options)
        logger.warning("%s is damaged: it is set aside as %s, and its cells are computed again", part, set_aside(part))
        return self._schema.empty_table()


def _shorten(prompts: Collection[str]) -> np.ndarray:
    """Return eight bytes of each prompt's hash, which the store keeps in memory to find the parts of a prompt."""
    return np.array([int(prompt[:16], 16) for prompt in prompts], dtype=np.uint64)
