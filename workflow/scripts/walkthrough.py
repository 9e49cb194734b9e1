"""The walk-through notebook, run on a model and a data set of the study."""

import os
from pathlib import Path

from memory_injections.devices import devices_for
from memory_injections.files import job_log
from memory_injections.notebooks import execute
from memory_injections.weights import model_bytes

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    with job_log(snakemake.log[0]):
        inputs, output = snakemake.input, snakemake.output
        # Weights are held twice while they are processed.
        with devices_for(2 * model_bytes(Path(inputs.checkpoint))) as devices:
            parameters = {
                "model": inputs.checkpoint,
                "pairs": inputs.pairs,
                "heads": inputs.heads,
                "cells": inputs.cells,
                "devices": list(map(str, devices)),
            }
            execute(Path(inputs.notebook), parameters, Path(output.notebook), Path(output.page))
