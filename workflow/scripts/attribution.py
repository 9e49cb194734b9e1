"""Every attention head's output in vocabulary space, and how it rates answer and memory."""

from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from memory_injections.attribution import TARGETS_SCHEMA, TOP_SCHEMA, read_heads
from memory_injections.cache import ActivationCache
from memory_injections.devices import devices_for
from memory_injections.files import job_log, whole_file
from memory_injections.lens import Lens
from memory_injections.prompts import read_pairs
from memory_injections.tokens import load_tokenizer, vocabulary
from tqdm import tqdm

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]), ExitStack() as stack:
        devices = stack.enter_context(devices_for(Path(snakemake.input.lens).stat().st_size))
        lens = Lens.load(snakemake.input.lens, devices[0])
        pairs = read_pairs(Path(snakemake.input.pairs))
        words = vocabulary(load_tokenizer(Path(snakemake.input.checkpoint)), lens.W_U.shape[1])
        paths = [stack.enter_context(whole_file(Path(path))) for path in snakemake.output]
        top, targets = (
            stack.enter_context(pq.ParquetWriter(path, schema))
            for path, schema in zip(paths, (TOP_SCHEMA, TARGETS_SCHEMA), strict=True)
        )
        cache = ActivationCache(snakemake.input.activations)
        with tqdm(total=len(pairs), desc="heads", unit="prompt pair") as progress:
            for readings in read_heads(cache, lens, pairs, words, snakemake.params.top_k):
                top.write_table(pa.Table.from_pandas(readings.top, TOP_SCHEMA))
                targets.write_table(pa.Table.from_pandas(readings.targets, TARGETS_SCHEMA))
                progress.update(readings.top["prompt_id"].nunique())
