"""The processed weights that translate between residual stream and vocabulary, and the check of the model's forms."""

import json
from pathlib import Path

import torch
from _job import start_job
from memory_injections.atomic_files import replace_file, write_text
from memory_injections.injection.load_check import load_checked_bridge
from memory_injections.models.checkpoints import guard_model
from memory_injections.models.processed_weights import ProcessedWeights


def write_processed_weights(checkpoint: Path, manifest: Path, processed: Path, check: Path) -> None:
    """Process a model's weights on the CPU, save those that the study reads, and how far the model's forms differ."""
    with guard_model(checkpoint, manifest):
        bridge, differences = load_checked_bridge(checkpoint, torch.device("cpu"))
    with replace_file(processed) as path:
        ProcessedWeights.of(bridge).save(path)
    write_text(json.dumps({"differences": differences}, indent=2) + "\n", check)


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        inputs, output = job.input, job.output
        write_processed_weights(
            Path(inputs.checkpoint), Path(inputs.manifest), Path(output.processed), Path(output.check)
        )
