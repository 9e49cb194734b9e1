"""The activation cache of a model and a data set."""

import logging
from pathlib import Path

import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCacheWriter
from memory_injections.activations.recording import record_activations
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import iterate_pairs
from memory_injections.jobs.gpus import reserve_devices_for
from memory_injections.models.checkpoints import guard_model, read_manifest
from memory_injections.models.limits import PROCESSING_COPIES, RECORDED_BYTES_AT_ONCE
from memory_injections.models.loading import load_bridge
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import load_tokenizer
from tqdm import tqdm

# Prompt pairs that are in memory together: at least so many, and more while their activations are few enough. Texts of
# one length are a batch, so more of them make larger ones.
FEWEST_PAIRS, MOST_PAIRS = 100, 10_000

if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        params, checkpoint, pairs = job.params, Path(job.input.checkpoint), Path(job.input.pairs)
        size = ModelSize.from_manifest(read_manifest(Path(job.input.manifest)))
        at_once = min(max(FEWEST_PAIRS, RECORDED_BYTES_AT_ONCE // size.activation_bytes), MOST_PAIRS)
        n_pairs = sum(len(chunk) for chunk in iterate_pairs(pairs, at_once))
        with reserve_devices_for(job.input.manifest, copies=PROCESSING_COPIES) as devices:
            with guard_model(checkpoint, Path(job.input.manifest)):
                bridge, tokenizer = load_bridge(checkpoint, devices), load_tokenizer(checkpoint)
            with (
                replace_file(Path(job.output.activations)) as path,
                ActivationCacheWriter(path, n_pairs, {"model": params.model, "dataset": params.dataset}) as writer,
                tqdm(total=n_pairs, desc="activations", unit="prompt pair") as progress,
            ):
                for chunk in iterate_pairs(pairs, at_once):
                    writer.write(record_activations(bridge, tokenizer, chunk, bos=params.bos))
                    progress.update(len(chunk))
        logging.info("recorded %d prompt pairs", n_pairs)
