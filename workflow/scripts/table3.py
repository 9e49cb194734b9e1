"""Table 3: the best sites of curated memories, with random memories at the same sites."""

from pathlib import Path

import pandas as pd
from memory_injections.files import job_log, whole_file
from memory_injections.scorecard import SweepName
from memory_injections.tables import table3

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        sweeps: dict[tuple[str, str], dict[tuple[str, str], Path]] = {}
        for of, path in zip(snakemake.params.of, snakemake.input, strict=True):
            name = SweepName.parse(of)
            sweeps.setdefault((name.model, name.dataset), {})[name.memories, name.encoding] = Path(path)
        tables = []
        for (model, dataset), paths in sweeps.items():
            table = table3(paths)
            table.insert(0, "model", model)
            table.insert(1, "dataset", dataset)
            tables.append(table)
        with whole_file(Path(snakemake.output[0])) as path:
            pd.concat(tables).to_csv(path, index=False)
