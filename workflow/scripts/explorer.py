"""The study's explorer, one self-contained page."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.analysis.table_files import read_table
from memory_injections.atomic_files import write_text
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.pages.explorer import render_explorer
from memory_injections.paper.reported import read_numbers
from memory_injections.sweeps.cells import index_sweeps


def index_texts(tables: Iterable[pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Map `model/dataset` to the scores of its texts."""
    return {"/".join(table[["model", "dataset"]].iloc[0]): table for table in tables}


if __name__ == "__main__":
    with start_job(globals()) as job:
        inputs, params = job.input, job.params
        page = render_explorer(
            Path(inputs.template),
            source=params.source,
            style=Path(inputs.style),
            scripts=list(map(Path, inputs.scripts)),
            study=params.study,
            sweeps=index_sweeps(map(Path, inputs.cells)),
            pairs=index_pairs(map(Path, inputs.pairs)),
            heads=list(zip(map(Path, inputs.top), map(Path, inputs.targets), strict=True)),
            texts=index_texts(map(pd.read_parquet, inputs.texts)),
            known_ranks=params.known_ranks,
            tables={path.stem: read_table(path) for path in map(Path, inputs.tables)},
            paper=read_numbers(Path(inputs.paper)),
        )
        write_text(page, Path(job.output[0]))
