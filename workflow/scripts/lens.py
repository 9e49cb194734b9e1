"""The processed weights that translate between residual stream and vocabulary."""

from pathlib import Path

import torch
from memory_injections.files import job_log, whole_file
from memory_injections.lens import Lens
from memory_injections.models import load_bridge

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]):
        lens = Lens.of(load_bridge(Path(snakemake.input.checkpoint), [torch.device("cpu")]))
        with whole_file(Path(snakemake.output[0])) as path:
            lens.save(path)
