"""What the injections of a model on a data set do: to its heads, on their way to the answer, and to other texts."""

from pathlib import Path

import pandas as pd
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.jobs.loading import load_on_reserved_devices
from memory_injections.jobs.unfinished import UnfinishedParts
from memory_injections.mechanisms.measurements import Injections
from memory_injections.mechanisms.settings import Mechanisms

if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        inputs, params = job.input, job.params
        cache, pairs = ActivationCache(inputs.activations), read_pairs(Path(inputs.pairs))
        text = Path(inputs.text).read_text(encoding="utf-8")
        curated = [Path(path) for path in inputs.curated]
        files = {name: Path(inputs[name]) for name in ("manifest", "processed", "pairs", "activations", "text")}
        files |= {path.name: path for path in curated}
        parts: dict[str, list[pd.DataFrame]] = {}
        with load_on_reserved_devices(inputs.checkpoint, inputs.manifest, inputs.processed, params.precision) as model:
            unfinished = UnfinishedParts(
                Path(params.unfinished), files, {**dict(params.items()), "device": model.engine.device.type}
            )
            settings = Mechanisms.model_validate(params.mechanisms)
            injections = Injections(model, cache, pairs, settings, params.seed, params.outcome)
            for name, table in injections.measure(curated, text, unfinished.keep):
                parts.setdefault(name, []).append(table)
        for name, tables in parts.items():
            with replace_file(Path(job.output[name])) as path:
                whole = pd.concat(tables, ignore_index=True)
                whole.assign(model=params.model, dataset=params.dataset).to_parquet(path, index=False)
        unfinished.discard()
