"""All figures of one subject, such as a sweep: those that are not drawn yet, of these tables with this code."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from _job import start_job
from memory_injections.analysis.table_files import read_table
from memory_injections.checksums import hash_contents, hash_lines
from memory_injections.figures.registry import list_figures
from memory_injections.figures.style import draw_note, is_drawn, save_figure, use_style

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".csv": read_table}


def draw_figures(digests: Mapping[str, str], tables: Mapping[str, list[Path]], files: Mapping[str, list[Path]]) -> None:
    """Draw registered figures, each of its tables, one below the other, unless its files were drawn of the same tables.

    `digests` are those of the code of each figure, `tables` are by the names in the registry (`tables` for a figure
    that names none), and `files` the PNG and the PDF of each figure.
    """
    for name, digest in digests.items():
        sources = tables[list_figures()[name].table or "tables"]
        mark = hash_lines([digest, *map(hash_contents, sources)])
        png, pdf = files[name]
        if is_drawn(png, pdf, mark):
            logging.info("%s is drawn already", png)
            for file in (png, pdf):
                file.touch()  # it is as new as the tables that it was compared with
        else:
            draw_figure(name, sources, png, pdf, mark)


def draw_figure(name: str, tables: list[Path], png: Path, pdf: Path, mark: str) -> None:
    """Draw one figure, or a sentence if there is nothing to draw."""
    table = pd.concat([READERS[path.suffix](path) for path in tables], ignore_index=True)
    # Seaborn jitters dots with NumPy's global generator; with a seed, the same study gives the same picture.
    np.random.seed(0)
    registered = list_figures()[name]
    needed = registered.needs
    with use_style():
        if table.empty:
            figure = draw_note("There is nothing to draw: the table has no rows.")
        elif needed is not None and table[needed].isna().all():
            figure = draw_note(f"These cells have no {needed}.")
        else:
            figure = registered.load()(table)
        save_figure(figure, png, pdf, mark)


if __name__ == "__main__":
    with start_job(globals()) as job:
        script, *functions = job.params.code.items()
        draw_figures(
            {function.rpartition(".")[2]: f"{script}; {digest}" for function, digest in functions},
            {name: list(map(Path, paths)) for name, paths in job.input.items()},
            {name: list(map(Path, paths)) for name, paths in job.output.items()},
        )
