"""Table 1: how well each model answers each kind of prompt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.table_files import write_table
from memory_injections.analysis.tables import build_table1, score_prompts_of_cache, score_prompts_of_cells


def read_prompts(paths: Sequence[Path], source: Literal["models", "published"]) -> pd.DataFrame:
    """Every prompt of each model once, from activation caches or from the authors' sweeps, which all repeat them."""
    if source == "models":
        return pd.concat([score_prompts_of_cache(ActivationCache(path)) for path in paths])
    prompts: dict[tuple[str, str], pd.DataFrame] = {}
    for path in paths:
        table = score_prompts_of_cells(pd.read_parquet(path))
        prompts.setdefault((table["model"].iloc[0], table["dataset"].iloc[0]), table)
    return pd.concat(prompts.values()).astype({"model": str, "dataset": str})


if __name__ == "__main__":
    with start_job(globals()) as job:
        prompts = read_prompts([Path(path) for path in job.input], job.params.source)
        write_table(build_table1(prompts), Path(job.output[0]))
