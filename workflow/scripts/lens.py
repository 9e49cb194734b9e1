"""The processed weights that translate between residual stream and vocabulary."""

from pathlib import Path

import torch
from _job import start_job
from memory_injections.atomic_files import replace_file
from memory_injections.models.lens import Lens
from memory_injections.models.loading import load_bridge


def write_lens(checkpoint: Path, output: Path) -> None:
    """Process a model's weights on the CPU and save those that the study reads."""
    lens = Lens.of(load_bridge(checkpoint, [torch.device("cpu")]))
    with replace_file(output) as path:
        lens.save(path)


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        write_lens(Path(job.input.checkpoint), Path(job.output[0]))
