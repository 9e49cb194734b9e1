"""Percent change over layer x magnitude."""

import pandas as pd
from memory_injections import figures
from memory_injections.files import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        names = snakemake.wildcards
        title = f"{names.model} on {names.dataset}, memories: {names.memories}, encoding: {names.encoding}"
        figure = figures.change_heat_map(pd.read_parquet(snakemake.input[0]), title)
        figures.save(figure, *snakemake.output)
