"""The activation cache of a model and a data set."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCacheWriter
from memory_injections.activations.recording import record_activations
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import iterate_pairs
from memory_injections.jobs.gpus import hold_devices
from memory_injections.models.checkpoints import hold_model, read_manifest
from memory_injections.models.limits import PROCESSING_COPIES
from memory_injections.models.loading import load_bridge
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import load_tokenizer
from tqdm import tqdm

PAIRS_AT_ONCE = 100


def write_activations(
    inputs: Any, cache: Path, names: dict[str, str], bos: bool, devices: Sequence[torch.device]
) -> None:
    """Record the activations of a data set's prompts and memories; `names` are the model's and the data set's."""
    checkpoint, pairs = Path(inputs.checkpoint), Path(inputs.pairs)
    n_pairs = sum(len(chunk) for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE))
    with (
        replace_file(cache) as path,
        ActivationCacheWriter(path, n_pairs, names) as writer,
        tqdm(total=n_pairs, desc="activations", unit="prompt pair") as progress,
    ):
        with hold_model(checkpoint, Path(inputs.manifest)):
            bridge, tokenizer = load_bridge(checkpoint, devices), load_tokenizer(checkpoint)
        for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE):
            writer.write(record_activations(bridge, tokenizer, chunk, bos=bos))
            progress.update(len(chunk))
    logging.info("recorded %d prompt pairs", n_pairs)


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        size = ModelSize.from_manifest(read_manifest(job.input.manifest))
        with hold_devices(PROCESSING_COPIES * size.weight_bytes()) as devices:
            write_activations(
                job.input,
                Path(job.output.activations),
                {"model": job.params.model, "dataset": job.params.dataset},
                job.params.bos,
                devices,
            )
