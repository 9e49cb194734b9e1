"""Table 1: how well each model answers each kind of prompt."""

from pathlib import Path

import pandas as pd
from memory_injections.cache import ActivationCache
from memory_injections.files import job_log, whole_file
from memory_injections.tables import prompts_of_cache, prompts_of_cells, table1

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        tables: dict[str, pd.DataFrame] = {}
        for of, path in zip(snakemake.params.of, snakemake.input, strict=True):
            model, dataset = of.split("/")[:2]
            if f"{model}/{dataset}" in tables:
                continue  # every sweep of the authors repeats the prompts
            is_cache = path.endswith(".safetensors")
            prompts = prompts_of_cache(ActivationCache(path)) if is_cache else prompts_of_cells(pd.read_parquet(path))
            tables[f"{model}/{dataset}"] = table1(prompts).assign(model=model, dataset=dataset)
        table = pd.concat(tables.values())
        table = table[["model", "dataset", *table.columns.drop(["model", "dataset"])]]
        with whole_file(Path(snakemake.output[0])) as path:
            table.to_csv(path, index=False)
