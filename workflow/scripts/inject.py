"""Every cell of every sweep of a model over a data set; finished ones are kept in a store and not computed again."""

from pathlib import Path

from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.data.text_tables import read_column
from memory_injections.jobs.loading import load_on_reserved_devices
from memory_injections.sweeps.experiment import Experiment
from memory_injections.sweeps.grid import InjectionGrid, expand_grids, take_shard
from memory_injections.terms import CURATED
from torch import set_num_threads  # behind _job, which hides tracebacks of Ctrl-C

if __name__ == "__main__":
    with start_job(globals()) as job:
        set_num_threads(job.threads)
        inputs, params = job.input, job.params
        with load_on_reserved_devices(inputs.checkpoint, inputs.manifest, inputs.processed, params.precision) as model:
            grids = map(InjectionGrid.model_validate, params.grids)
            sweeps = take_shard(expand_grids(grids, model.engine.n_layers), *params.shard)
            random = {sweep.memories for sweep in sweeps} - {CURATED}
            words = {memories: read_column(Path(inputs.words), memories) for memories in random}
            cache = ActivationCache(inputs.activations)
            experiment = Experiment(
                model, cache, Path(inputs.pairs), words, params.seed, params.answer_positions or "prompt"
            )
            experiment.write(sweeps, Path(params.store), params.engine, Path(job.output.cells))
