"""Every cell of every sweep of a model over a data set; finished ones are kept in a store and not computed again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.activations.residual_norms import measure_residual_norms
from memory_injections.atomic_files import replace_file
from memory_injections.data.word_lists import read_column
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.jobs.gpus import hold_devices
from memory_injections.models.checkpoints import hold_model, read_manifest
from memory_injections.models.lens import Lens
from memory_injections.models.loading import ModelParts, load_causal_lm
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import list_vocabulary, load_tokenizer
from memory_injections.sweeps.cells import SCHEMA
from memory_injections.sweeps.grid import InjectionGrid, Sweep, expand_grids, split_by_dose, take_shard
from memory_injections.sweeps.running import Experiment, describe_context
from memory_injections.sweeps.store import CellStore
from memory_injections.terms import CURATED


def write_cells(
    inputs: Any, params: Any, sweeps: Sequence[Sweep], output: Path, devices: Sequence[torch.device]
) -> None:
    """Compute what the store does not have yet of some sweeps, and write all of their cells."""
    checkpoint = Path(inputs.checkpoint)
    with hold_model(checkpoint, Path(inputs.manifest)):
        model = load_causal_lm(checkpoint, devices, params.precision)
        engine = SkippingEngine(model, ModelParts.from_manifest(read_manifest(inputs.manifest)))
        tokenizer = load_tokenizer(checkpoint)
    lens = Lens.load(inputs.lens, engine.device)
    cache, random = ActivationCache(inputs.activations), {sweep.memories for sweep in sweeps} - {CURATED}
    experiment = Experiment(
        params.model,
        params.dataset,
        sweeps,
        {memories: read_column(Path(inputs.words), memories) for memories in random},
        params.seed,
        Path(inputs.pairs),
        cache,
        tokenizer,
        list_vocabulary(tokenizer, lens.W_U.shape[1]),
    )
    context = describe_context(read_manifest(inputs.manifest), params.precision, engine.device.type, params.engine)
    schema = SCHEMA.with_metadata({"memory_injections": json.dumps(context)})
    with replace_file(output) as path, pq.ParquetWriter(path, schema) as writer:
        for own in split_by_dose(sweeps):
            # A relative dose depends on all prompts of the data set, other cells do not: they have stores of their own.
            norms = measure_residual_norms(cache) if own[0].relative else []
            computer = CellComputer(engine, MemoryEncoder(engine, tokenizer, lens, norms))
            with CellStore(Path(params.store), context | ({"residual_norms": norms} if norms else {})) as store:
                for cells in replace(experiment, sweeps=own).run(computer, store):
                    for _, sweep in cells.groupby(["memories", "encoding"], sort=False):
                        writer.write_table(pa.Table.from_pandas(sweep, schema, preserve_index=False))


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        size = ModelSize.from_manifest(read_manifest(job.input.manifest))
        grids = map(InjectionGrid.model_validate, job.params.grids)
        sweeps = take_shard(expand_grids(grids, size.n_layers), *job.params.shard)
        with hold_devices(size.weight_bytes(job.params.precision)) as devices:
            write_cells(job.input, job.params, sweeps, Path(job.output[0]), devices)
