"""How every head rates the answer or the memory."""

import pandas as pd
from memory_injections import figures
from memory_injections.files import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        names = snakemake.wildcards
        title = f"{names.model} on {names.dataset}, the {names.target} in every head's output"
        figure = figures.attribution_heat_map(pd.read_parquet(snakemake.input[0]), names.target, title)
        figures.save(figure, *snakemake.output)
