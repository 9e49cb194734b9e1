"""How far the best sites hold on other prompts, and curated memories against random ones, tested."""

from pathlib import Path

import pandas as pd
from memory_injections.config import CURATED
from memory_injections.evidence import COLUMNS, TESTED, against_random, robustness
from memory_injections.files import job_log, whole_file
from memory_injections.scorecard import SweepName, reported_site

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        paths = {SweepName.parse(of): Path(path) for of, path in zip(snakemake.params.of, snakemake.input, strict=True)}
        robust, tested = [], []
        for name, path in paths.items():
            cells = pd.read_parquet(path, columns=COLUMNS)
            robust.append(robustness(cells, snakemake.params.seed).assign(**vars(name)))
            if name.memories == CURATED:
                random = {other.memories: paths[other] for other in name.beside(paths)}
                table = against_random(cells, random, reported_site(name, snakemake.params.paper))
                tested.append(table.assign(model=name.model, dataset=name.dataset, encoding=name.encoding))
        for path, tables in zip(snakemake.output, (robust, tested), strict=True):
            table = pd.concat(tables) if tables else pd.DataFrame(columns=TESTED)
            first = ["model", "dataset", "encoding", "memories"]
            with whole_file(Path(path)) as whole:
                table.reindex(columns=[*first, *table.columns.drop(first, errors="ignore")]).to_csv(whole, index=False)
