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
from memory_injections.models.checkpoints import guard_model
from memory_injections.models.limits import PROCESSING_COPIES
from memory_injections.models.loading import load_bridge
from memory_injections.models.tokenisation import load_tokenizer
from tqdm import tqdm

PAIRS_AT_ONCE = 100

if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        params, checkpoint, pairs = job.params, Path(job.input.checkpoint), Path(job.input.pairs)
        n_pairs = sum(len(chunk) for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE))
        with reserve_devices_for(job.input.manifest, copies=PROCESSING_COPIES) as devices:
            with guard_model(checkpoint, Path(job.input.manifest)):
                bridge, tokenizer = load_bridge(checkpoint, devices), load_tokenizer(checkpoint)
            with (
                replace_file(Path(job.output.activations)) as path,
                ActivationCacheWriter(path, n_pairs, {"model": params.model, "dataset": params.dataset}) as writer,
                tqdm(total=n_pairs, desc="activations", unit="prompt pair") as progress,
            ):
                for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE):
                    writer.write(record_activations(bridge, tokenizer, chunk, bos=params.bos))
                    progress.update(len(chunk))
        logging.info("recorded %d prompt pairs", n_pairs)
