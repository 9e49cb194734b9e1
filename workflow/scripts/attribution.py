"""Every attention head's output in vocabulary space, and how it rates answer and memory."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.activations.heads import TARGETS_SCHEMA, TOP_SCHEMA, read_heads
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.jobs.gpus import hold_devices
from memory_injections.models.checkpoints import hold_model
from memory_injections.models.lens import Lens
from memory_injections.models.tokenisation import list_vocabulary, load_tokenizer
from tqdm import tqdm


def write_readings(inputs: Any, lens: Lens, top_k: int, top: Path, targets: Path) -> None:
    """Read every head of every prompt; `top` gets its top tokens, `targets` how it rates answer and memory."""
    table = read_pairs(Path(inputs.pairs))
    with hold_model(Path(inputs.checkpoint), Path(inputs.manifest), weights=False):
        vocabulary = list_vocabulary(load_tokenizer(Path(inputs.checkpoint)), lens.W_U.shape[1])
    with (
        replace_file(top) as top_path,
        replace_file(targets) as targets_path,
        pq.ParquetWriter(top_path, TOP_SCHEMA) as top_writer,
        pq.ParquetWriter(targets_path, TARGETS_SCHEMA) as targets_writer,
        tqdm(total=len(table), desc="heads", unit="prompt pair") as progress,
    ):
        for readings in read_heads(ActivationCache(inputs.activations), lens, table, vocabulary, top_k):
            top_writer.write_table(pa.Table.from_pandas(readings.top, TOP_SCHEMA))
            targets_writer.write_table(pa.Table.from_pandas(readings.targets, TARGETS_SCHEMA))
            progress.update(readings.top["prompt_id"].nunique())


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        with hold_devices(Path(job.input.lens).stat().st_size) as devices:
            write_readings(
                job.input,
                Lens.load(job.input.lens, devices[0]),
                job.params.top_k,
                Path(job.output.top),
                Path(job.output.targets),
            )
