"""Every attention head's output in vocabulary space, and how it rates answer and memory."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.activations.heads import TARGETS_SCHEMA, TOP_SCHEMA, HeadReadings, read_heads
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.jobs.gpus import reserve_devices
from memory_injections.models.checkpoints import guard_model
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import list_vocabulary, load_tokenizer
from tqdm import tqdm


def write_readings(readings: Iterable[HeadReadings], n_pairs: int, top: Path, targets: Path) -> None:
    """Write what heads say of some prompts at a time: `top` gets their top tokens, `targets` the rest."""
    with (
        replace_file(top) as top_path,
        replace_file(targets) as targets_path,
        pq.ParquetWriter(top_path, TOP_SCHEMA) as top_writer,
        pq.ParquetWriter(targets_path, TARGETS_SCHEMA) as targets_writer,
        tqdm(total=n_pairs, desc="heads", unit="prompt pair") as progress,
    ):
        for part in readings:
            top_writer.write_table(pa.Table.from_pandas(part.top, TOP_SCHEMA))
            targets_writer.write_table(pa.Table.from_pandas(part.targets, TARGETS_SCHEMA))
            progress.update(part.top["prompt_id"].nunique())


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        inputs, output, checkpoint = job.input, job.output, Path(job.input.checkpoint)
        with reserve_devices(Path(inputs.processed).stat().st_size) as devices:
            processed, pairs = ProcessedWeights.load(inputs.processed, devices[0]), read_pairs(Path(inputs.pairs))
            with guard_model(checkpoint, Path(inputs.manifest), weights=False):
                vocabulary = list_vocabulary(load_tokenizer(checkpoint), processed.W_U.shape[1])
            readings = read_heads(ActivationCache(inputs.activations), processed, pairs, vocabulary, job.params.top_k)
            write_readings(readings, len(pairs), Path(output.top), Path(output.targets))
