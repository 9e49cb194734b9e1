"""Curated against random memories at the best sites."""

import pandas as pd
from memory_injections import figures
from memory_injections.files import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        names = snakemake.wildcards
        sweeps = {
            kind: pd.read_parquet(path) for kind, path in zip(snakemake.params.kinds, snakemake.input, strict=True)
        }
        title = f"{names.model} on {names.dataset}, curated against random memories, encoding: {names.encoding}"
        figure = figures.comparison(sweeps, snakemake.params.kinds[0], title)
        figures.save(figure, *snakemake.output)
