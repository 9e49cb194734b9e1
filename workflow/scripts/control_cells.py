"""The cells of the controls of a model on a data set, the sites they are at, and the texts they are compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.activations.residual_norms import measure_residual_norms
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import COLUMNS
from memory_injections.atomic_files import replace_file
from memory_injections.controls.plan import PlannedPrompts, list_recipes, plan_controls
from memory_injections.controls.recipes import ControlEncoder
from memory_injections.controls.running import SCHEMA, list_texts, run_controls, score_texts
from memory_injections.controls.settings import Controls
from memory_injections.controls.sites import choose_control_sites
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.data.word_lists import read_column
from memory_injections.errors import ControlLayerError
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.jobs.gpus import hold_devices
from memory_injections.models.checkpoints import hold_model, read_manifest
from memory_injections.models.lens import Lens
from memory_injections.models.loading import ModelParts, load_causal_lm
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.paper.reported import find_reported_site, identify_as_papers, rename_numbers
from memory_injections.sweeps.cells import index_sweeps
from memory_injections.sweeps.running import describe_context
from memory_injections.sweeps.store import CellStore


def choose_sites(inputs: Any, params: Any, controls: Controls, pairs: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Choose the sites of every sweep of curated memories."""
    for site in controls.sites:
        if site.layer >= n_layers:
            raise ControlLayerError(site.layer, n_layers)
    papers = identify_as_papers(read_manifest(inputs.manifest), pairs, params.paper)
    names = {(params.model, params.dataset): papers} if papers else {}
    numbers = {"sites": rename_numbers(params.paper["sites"], names)}
    groups, tables = cluster_prompts(pairs), []
    for sweep, path in index_sweeps(map(Path, inputs.curated)).items():
        cells, reported = pd.read_parquet(path, columns=COLUMNS), find_reported_site(sweep, numbers)
        sites = choose_control_sites(cells, groups, params.seed, reported, controls.sites)
        tables.append(sites.assign(encoding=sweep.encoding, relative=sweep.relative))
    return pd.concat(tables, ignore_index=True)


def write_controls(inputs: Any, params: Any, output: Any, devices: Sequence[torch.device]) -> None:
    """Compute what the store does not have yet of the controls' cells, and write all of them."""
    controls, pairs = Controls.model_validate(params.controls), read_pairs(Path(inputs.pairs))
    checkpoint = Path(inputs.checkpoint)
    with hold_model(checkpoint, Path(inputs.manifest)):
        model = load_causal_lm(checkpoint, devices, params.precision)
        engine = SkippingEngine(model, ModelParts.from_manifest(read_manifest(inputs.manifest)))
        tokenizer = load_tokenizer(checkpoint)
    encoder_parts = engine, tokenizer, Lens.load(inputs.lens, engine.device)
    sites = choose_sites(inputs, params, controls, pairs, engine.n_layers)
    planned = PlannedPrompts.of_pairs(pairs, tokenizer)
    words = [word for kind in params.word_kinds for word in read_column(Path(inputs.words), kind)]
    cells = plan_controls(sites, planned, list_recipes(planned, controls, words, params.seed), controls, tokenizer)
    context = describe_context(read_manifest(inputs.manifest), params.precision, engine.device.type, params.engine)
    of = {"model": params.model, "dataset": params.dataset}
    with replace_file(Path(output.cells)) as path, pq.ParquetWriter(path, SCHEMA) as writer:
        for relative, part in cells.groupby("relative"):
            norms = measure_residual_norms(ActivationCache(inputs.activations)) if relative else []
            computer = CellComputer(engine, ControlEncoder(MemoryEncoder(*encoder_parts, norms)))
            with CellStore(Path(params.store), context | ({"residual_norms": norms} if norms else {})) as store:
                for scored in run_controls(part, planned, computer, store):
                    writer.write_table(pa.Table.from_pandas(scored.assign(**of), SCHEMA, preserve_index=False))
    tables = {"sites": sites, "texts": score_texts(list_texts(planned), engine, tokenizer)}
    for name, table in tables.items():
        with replace_file(Path(output[name])) as path:
            table.assign(**of).to_parquet(path, index=False)


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        size = ModelSize.from_manifest(read_manifest(job.input.manifest))
        with hold_devices(size.weight_bytes(job.params.precision)) as devices:
            write_controls(job.input, job.params, job.output, devices)
