"""Every cell of every sweep of a model over a data set; finished ones are kept in a store and not computed again."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from memory_injections.cache import ActivationCache
from memory_injections.cells import SCHEMA, Sweep, shard_of
from memory_injections.checkpoints import read_manifest
from memory_injections.config import CURATED, InjectionGrid
from memory_injections.devices import devices_for
from memory_injections.engine import InjectionEngine
from memory_injections.experiment import Experiment, context
from memory_injections.files import job_log, whole_file
from memory_injections.lens import Lens
from memory_injections.memories import MemoryEncoder
from memory_injections.models import load_causal_lm
from memory_injections.prompts import words_of_column
from memory_injections.store import CellStore
from memory_injections.sweep import CellComputer
from memory_injections.tokens import load_tokenizer, vocabulary
from memory_injections.weights import model_bytes

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        manifest, checkpoint = read_manifest(inputs.manifest), Path(inputs.checkpoint)
        sweeps = [
            Sweep(
                memories,
                encoding,
                InjectionGrid.model_validate(grid).layer_list(manifest["n_layers"]),
                grid["magnitudes"],
            )
            for memories, encoding, grid in params.sweeps
        ]
        sweeps = shard_of(sweeps, *params.shard)
        random = {sweep.memories for sweep in sweeps} - {CURATED}
        with devices_for(model_bytes(checkpoint, params.precision)) as devices:
            engine = InjectionEngine(load_causal_lm(checkpoint, devices, params.precision))
            tokenizer, lens = load_tokenizer(checkpoint), Lens.load(inputs.lens, engine.device)
            computer = CellComputer(engine, MemoryEncoder(engine, tokenizer, lens))
            experiment = Experiment(
                sweeps,
                {memories: words_of_column(Path(inputs.words[0]), memories) for memories in random},
                params.seed,
                Path(inputs.pairs),
                ActivationCache(inputs.activations),
                tokenizer,
                vocabulary(tokenizer, lens.W_U.shape[1]),
            )
            about = context(manifest, params.precision, engine.device.type)
            schema = SCHEMA.with_metadata({"memory_injections": json.dumps(about)})
            with (
                CellStore(Path(params.store), about) as store,
                whole_file(Path(snakemake.output[0])) as path,
                pq.ParquetWriter(path, schema) as writer,
            ):
                for cells in experiment.run(computer, store):
                    for _, sweep in cells.groupby(["memories", "encoding"], sort=False):
                        writer.write_table(pa.Table.from_pandas(sweep, schema, preserve_index=False))
