"""The activation cache of a model and a data set."""

from pathlib import Path

import torch
from memory_injections import activations
from memory_injections.files import job_log, whole_file
from memory_injections.models import load_bridge, load_tokenizer
from memory_injections.prompts import read_pairs

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]):
        checkpoint = Path(snakemake.input.checkpoint)
        cache = activations.compute(
            load_bridge(checkpoint),
            load_tokenizer(checkpoint),
            read_pairs(Path(snakemake.input.pairs)),
            bos=snakemake.wildcards.bos == "bos",
        )
        with whole_file(Path(snakemake.output[0])) as path:
            activations.save(cache, path)
