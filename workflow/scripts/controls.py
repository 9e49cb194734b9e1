"""The tables of the controls of a study."""

from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.controls.tables import ControlResults, tabulate_controls
from memory_injections.data.prompt_pairs import index_pairs

if __name__ == "__main__":
    with start_job(globals()) as job:
        pairs, params = index_pairs(map(Path, job.input.pairs)), job.params
        parts = zip(job.input.cells, job.input.sites, job.input.texts, strict=True)
        every = []
        for cells, sites, texts in (map(pd.read_parquet, paths) for paths in parts):
            own = pairs[sites["dataset"].iloc[0]]
            every.append(ControlResults(cells, sites, texts, own, params.kinds, params.seed))
        tables = tabulate_controls(every, params.known_ranks)
        for path in map(Path, job.output):
            write_csv(tables[path.stem], path)
