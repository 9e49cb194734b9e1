"""The activation cache of a model and a data set."""

from pathlib import Path

import torch
from memory_injections.activations import compute
from memory_injections.cache import ActivationCacheWriter
from memory_injections.devices import devices_for
from memory_injections.files import job_log, whole_file
from memory_injections.models import load_bridge
from memory_injections.prompts import iterate_pairs
from memory_injections.tokens import load_tokenizer
from memory_injections.weights import model_bytes
from tqdm import tqdm

PAIRS_AT_ONCE = 100

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]):
        checkpoint, pairs = Path(snakemake.input.checkpoint), Path(snakemake.input.pairs)
        n_pairs = sum(len(chunk) for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE))
        with (
            # Weight processing holds the weights twice for a while.
            devices_for(2 * model_bytes(checkpoint)) as devices,
            whole_file(Path(snakemake.output[0])) as path,
            ActivationCacheWriter(path, n_pairs) as writer,
            tqdm(total=n_pairs, desc="activations", unit="prompt pair") as progress,
        ):
            bridge, tokenizer = load_bridge(checkpoint, devices), load_tokenizer(checkpoint)
            for chunk in iterate_pairs(pairs, PAIRS_AT_ONCE):
                writer.write(compute(bridge, tokenizer, chunk, bos=snakemake.params.bos))
                progress.update(len(chunk))
