"""The walk-through notebook, run on a model and a data set of the study."""

import os
from pathlib import Path

from _job import start_job
from memory_injections.jobs.gpus import reserve_devices_for
from memory_injections.models.checkpoints import guard_model
from memory_injections.models.limits import PROCESSING_COPIES
from memory_injections.pages.notebook import execute_notebook

if __name__ == "__main__":
    with start_job(globals()) as job:
        os.environ["OMP_NUM_THREADS"] = str(job.threads)
        inputs, output = job.input, job.output
        with reserve_devices_for(inputs.manifest, copies=PROCESSING_COPIES) as devices:
            used = {"model": inputs.checkpoint, "pairs": inputs.pairs, "heads": inputs.heads, "cells": inputs.cells}
            # As seen from the notebook, so that it runs again where it lies.
            paths = {name: os.path.relpath(path, Path(output.notebook).parent) for name, path in used.items()}
            parameters = {**paths, "devices": list(map(str, devices))}
            with guard_model(Path(inputs.checkpoint), Path(inputs.manifest)):
                execute_notebook(Path(inputs.notebook), parameters, Path(output.notebook), Path(output.page))
