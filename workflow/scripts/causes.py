"""The tables of causes: patched heads, direct effects, logit lens and side effects, averaged over prompts."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from _job import start_job
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.atomic_files import write_csv
from memory_injections.causes.tables import (
    average_blocks,
    average_direct_effects,
    average_patches,
    average_side_effects,
    compare_with_attribution,
)
from memory_injections.data.prompt_pairs import index_pairs


def read_tables(paths: Iterable[str]) -> pd.DataFrame:
    """Read the tables of all models and data sets as one."""
    return pd.concat(map(pd.read_parquet, paths), ignore_index=True)


if __name__ == "__main__":
    with start_job(globals()) as job:
        inputs, seed = job.input, job.params.seed
        clusters = {name: cluster_prompts(pairs) for name, pairs in index_pairs(map(Path, inputs.pairs)).items()}
        patches, heads = read_tables(inputs.patching), read_tables(inputs.heads)
        tables = {
            "patching": average_patches(patches, heads),
            "patching_agreement": compare_with_attribution(patches, heads, seed),
            "direct_effects": average_direct_effects(read_tables(inputs.direct_effects), clusters),
            "logit_lens": average_blocks(read_tables(inputs.logit_lens), clusters),
            "side_effects": average_side_effects(read_tables(inputs.side_effects), read_tables(inputs.texts)),
        }
        for path in map(Path, job.output):
            write_csv(tables[path.stem], path)
