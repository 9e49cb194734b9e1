"""What the injections of a model on a data set do: to its heads, on their way to the answer, and to other texts."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import COLUMNS, SweepEffects
from memory_injections.atomic_files import replace_file
from memory_injections.causes.running import Injections, choose_site, list_effects
from memory_injections.causes.settings import Causes
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.jobs.gpus import hold_devices
from memory_injections.jobs.pieces import Pieces
from memory_injections.models.checkpoints import hold_model, read_manifest
from memory_injections.models.lens import Lens
from memory_injections.models.loading import ModelParts, load_causal_lm
from memory_injections.models.sizes import ModelSize
from memory_injections.models.tokenisation import load_tokenizer
from memory_injections.sweeps.cells import index_sweeps
from tqdm import tqdm


def load_injections(inputs: Any, params: Any, devices: Sequence[torch.device]) -> Injections:
    """Load a model and its activations on a data set."""
    checkpoint, cache = Path(inputs.checkpoint), ActivationCache(inputs.activations)
    with hold_model(checkpoint, Path(inputs.manifest)):
        model = load_causal_lm(checkpoint, devices, params.precision)
        engine = SkippingEngine(model, ModelParts.from_manifest(read_manifest(inputs.manifest)))
        tokenizer = load_tokenizer(checkpoint)
    lens, settings = Lens.load(inputs.lens, engine.device), Causes.model_validate(params.causes)
    return Injections(engine, tokenizer, lens, cache, read_pairs(Path(inputs.pairs)), settings, params.seed)


def measure_causes(
    injections: Injections, curated: Sequence[Path], text: str, pieces: Pieces
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what is measured, by name: the heads of each prompt, the rest at the site of every curated sweep."""
    for row in tqdm(injections.draw_patched(), desc="patching", unit="prompt"):
        yield "patching", pieces.keep(f"patching.{row}", partial(injections.patch_heads, row))
    groups = cluster_prompts(injections.pairs)
    for sweep, path in index_sweeps(curated).items():
        effects = SweepEffects.of_cells(pd.read_parquet(path, columns=COLUMNS), groups, injections.seed)
        site = choose_site(effects, sweep.encoding, sweep.relative)
        measures = {
            "direct_effects": partial(injections.split_effects, site, list_effects(effects, site)),
            "logit_lens": partial(injections.read_later_blocks, site),
            "side_effects": partial(injections.find_side_effects, site),
            "texts": partial(injections.read_text, site, text),
        }
        for name, measure in measures.items():
            yield name, pieces.keep(f"{name}.{sweep.coding}", measure)


if __name__ == "__main__":
    with start_job(globals()) as job:
        torch.set_num_threads(job.threads)
        size = ModelSize.from_manifest(read_manifest(job.input.manifest))
        text = Path(job.input.text).read_text(encoding="utf-8")
        curated = [Path(path) for path in job.input.curated]
        parts: dict[str, list[pd.DataFrame]] = {}
        with hold_devices(size.weight_bytes(job.params.precision)) as devices:
            inputs = {name: Path(job.input[name]) for name in ("manifest", "lens", "pairs", "activations", "text")}
            inputs |= {path.name: path for path in curated}
            pieces = Pieces(Path(job.params.pieces), inputs, {**dict(job.params.items()), "devices": str(devices)})
            injections = load_injections(job.input, job.params, devices)
            for name, table in measure_causes(injections, curated, text, pieces):
                parts.setdefault(name, []).append(table)
        for name, tables in parts.items():
            with replace_file(Path(job.output[name])) as path:
                whole = pd.concat(tables, ignore_index=True)
                whole.assign(model=job.params.model, dataset=job.params.dataset).to_parquet(path, index=False)
        pieces.discard()
