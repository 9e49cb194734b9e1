"""One figure of the registry, of one thing that it is drawn of."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.pages.figures import save_figure
from memory_injections.pages.registry import load_figure


def draw_figure(name: str, tables: Sequence[Path], png: Path, pdf: Path) -> None:
    """Draw a registered figure of some tables, one below the other."""
    table = pd.concat([pd.read_parquet(path) for path in tables], ignore_index=True)
    save_figure(load_figure(name)(table), png, pdf)


if __name__ == "__main__":
    with start_job(globals()) as job:
        draw_figure(job.wildcards.figure, [Path(path) for path in job.input], *map(Path, job.output))
