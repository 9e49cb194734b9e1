"""Table 1: how well each model answers each kind of prompt."""

from pathlib import Path

import pandas as pd
from memory_injections.cache import ActivationCache
from memory_injections.files import job_log, whole_file
from memory_injections.tables import table1

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        tables = []
        for of, path in zip(snakemake.params.of, snakemake.input, strict=True):
            model, dataset = of.split("/")
            table = table1(ActivationCache(path))
            table.insert(0, "model", model)
            table.insert(1, "dataset", dataset)
            tables.append(table)
        with whole_file(Path(snakemake.output[0])) as path:
            pd.concat(tables).to_csv(path, index=False)
