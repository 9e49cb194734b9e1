"""Table 2: example prompt pairs with what their most telling heads say."""

from pathlib import Path

import pandas as pd
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import read_pairs
from memory_injections.tables import table2

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        tables = []
        pairs = {Path(path).stem: read_pairs(Path(path)) for path in snakemake.input.pairs}
        for of, top, targets in zip(snakemake.params.of, snakemake.input.top, snakemake.input.targets, strict=True):
            model, dataset = of.split("/")
            table = table2(Path(top), Path(targets), pairs[dataset])
            table.insert(0, "model", model)
            table.insert(1, "dataset", dataset)
            tables.append(table)
        with whole_file(Path(snakemake.output[0])) as path:
            pd.concat(tables).to_csv(path, index=False)
