"""One figure of the registry, of one thing that it is drawn of."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _job import start_job
from memory_injections.analysis.table_files import read_table
from memory_injections.pages.figures import draw_note, save_figure
from memory_injections.pages.registry import list_figures, load_figure

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".csv": read_table}


def draw_figure(name: str, tables: Sequence[Path], png: Path, pdf: Path) -> None:
    """Draw a registered figure of some tables, one below the other."""
    table = pd.concat([READERS[path.suffix](path) for path in tables], ignore_index=True)
    # Seaborn jitters dots with NumPy's global generator; with a seed, the same study gives the same picture.
    np.random.seed(0)
    needed = list_figures()[name].needs
    if table.empty:
        figure = draw_note("There is nothing to draw: the table has no rows.")
    elif needed is not None and table[needed].isna().all():
        figure = draw_note(f"These cells have no {needed}.")
    else:
        figure = load_figure(name)(table)
    save_figure(figure, png, pdf)


if __name__ == "__main__":
    with start_job(globals()) as job:
        draw_figure(job.wildcards.figure, [Path(path) for path in job.input], *map(Path, job.output))
