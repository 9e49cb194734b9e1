"""What a study costs: cells, arithmetic, memory and time of every job that holds a model, before anything runs.

    python -m memory_injections.costs --config config/paper.yaml --gpu a100-40

One row a job, in the order of the workflow:

- `PFLOP`: 10^15 operations of its matrix products and attention; `cells` is their number, where it computes cells
- `GPUs`: how many its model is spread over; `GPU GiB`: weights and working memory on all of them together
- `host GiB`: memory of its process; `hours`: on one machine of the kind, the job by itself

Left out, because small: downloads, tables, figures, the report, the walk-through (a minute, with the model once more),
and the memories' own passes of the `layer` encoding.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import transformers
from yaml import YAMLError, safe_load

from .activations import MAX_TOKENS as ACTIVATION_TOKENS
from .attribution import MAX_HEADS
from .cells import Sweep, shard_of
from .checks import check_local_files
from .config import PROMPT_KINDS, Study, parse_study
from .demands import gpus_needed
from .engine import MIN_ROWS
from .errors import StudyError
from .precision import Precision
from .sizes import DataSize, ModelSize, data_size, known, model_size
from .sweep import MAX_TOKENS, MULTIPLE_OF

GIB = 2**30
# The engine's share of the rate of large matrix products, as docs/engine.md has it from an H100 and from two cores.
SHARE: Mapping[str, Mapping[Precision, float]] = {
    "cuda": {"float32": 0.87, "tf32": 0.50, "bfloat16": 0.51},
    "cpu": {"float32": 0.75, "tf32": 0.75},
}
# What jobs do besides arithmetic, measured: imports, weights from the disk and their processing, and planning, look-up
# and writing of every cell and of every token of a head.
START_SECONDS = 15
BYTES_PER_SECOND = 5e8
PROCESSED_BYTES_PER_SECOND = 2e8
CELL_SECONDS = 10e-6
HEAD_TOKEN_SECONDS = 1e-6
# Python, its libraries, and the tables under way.
START_BYTES = 2 * GIB
# How often weight processing holds the weights: measured on a CPU, the file's pages among them, and what scripts/
# activations.py asks of GPUs.
PROCESSING = {"cpu": 3.5, "cuda": 2}
# Tensors as large as a batch's log-probabilities that live at once while it is scored, or while heads are read.
SCORING, READING = 5, 2
ASSUMED = """\
Assumed: injections in {precision} at {rate:.3g} TFLOP/s on {machine.name}, all else in float32 (rate of large products:
{machine.rates}; the engine's share of it: measured on an H100 and on two cores). {start} s to start a job,
{load:g} GB/s to load weights. The lens is taken on two CPU cores. The blocks of a model on several GPUs take turns.
Token numbers are estimates. Batches are halved until they fit into the memory that weights leave on a GPU."""


@dataclass(frozen=True)
class Machine:
    """A kind of GPU, or a CPU: TFLOP/s of large matrix products by precision, and GiB of a GPU's memory."""

    name: str
    products: Mapping[Precision, float]
    gib: float
    rates: str

    @property
    def device(self) -> str:
        """The type of device, as torch calls it."""
        return "cuda" if self.gib else "cpu"

    def rate(self, precision: Precision) -> float:
        """FLOP/s of the engine; raises `StudyError` for a precision whose rate is not known."""
        if precision not in self.products:
            raise StudyError(
                f"config key precision: no rate of {precision} is known for {self.name}; "
                f"known: {', '.join(self.products)}"
            )
        return 1e12 * self.products[precision] * SHARE[self.device][precision]


def machine_of(name: str) -> Machine:
    """One of the machines of resources/costs.yaml; raises `StudyError` for another name."""
    machines = known()["machines"]
    if name not in machines:
        raise StudyError(f"no GPU {name!r} is known; known: {', '.join(machines)} (resources/costs.yaml)")
    return Machine(name, **machines[name])


def plan(study: Study, models: Mapping[str, ModelSize], data: Mapping[str, DataSize], machine: Machine) -> pd.DataFrame:
    """The jobs of a study that hold a model, one a row, as the module's text says."""
    return pd.DataFrame(
        job for name, size in models.items() for job in _jobs_of_model(study, name, size, data, machine)
    )


def _jobs_of_model(
    study: Study, name: str, model: ModelSize, data: Mapping[str, DataSize], machine: Machine
) -> Iterator[dict[str, Any]]:
    weights, lens = model.weight_bytes(), model.lens_bytes
    processing = weights / PROCESSED_BYTES_PER_SECOND
    # The lens is taken on the CPU whatever the machine.
    yield _job(
        machine_of("cpu"),
        f"lens {name}",
        loaded=weights,
        spread=PROCESSING["cpu"] * weights,
        working=0,
        seconds=processing,
    )
    for dataset, texts in data.items():
        of = f"{name}/{dataset}"
        activations = partial(
            _job,
            machine,
            flop=texts.n_prompts * sum(model.full_pass(tokens) for tokens in texts.tokens.values()),
            loaded=weights,
            spread=PROCESSING[machine.device] * weights,
            working=4 * 2 * ACTIVATION_TOKENS * model.d_vocab,
            seconds=processing,
        )
        yield activations(f"activations {of}")
        if not study.attribution.bos:
            yield activations(f"activations {of}, no BOS")
        heads = model.n_layers * model.n_heads
        yield _job(
            machine,
            f"attribution {of}",
            flop=texts.n_prompts * len(PROMPT_KINDS) * model.heads(),
            loaded=lens,
            spread=lens,
            working=4 * READING * max(heads, MAX_HEADS) * model.d_vocab,
            seconds=HEAD_TOKEN_SECONDS * texts.n_prompts * len(PROMPT_KINDS) * heads * study.attribution.top_k,
        )
        sweeps = [
            Sweep(memories, encoding, grid.layer_list(model.n_layers), grid.magnitudes)
            for memories, encoding in study.sweeps()
            for grid in [study.grid(memories, encoding)]
        ]
        shards = study.shards_of(name)
        for shard in range(1, shards + 1):
            job = f"cells {of}" + (f", {shard} of {shards}" if shards > 1 else "")
            yield _cells(study, job, shard_of(sweeps, shard, shards), model, texts, machine)


def _cells(
    study: Study, job: str, sweeps: list[Sweep], model: ModelSize, texts: DataSize, machine: Machine
) -> dict[str, Any]:
    """A job of all cells of a model and a data set, or of some layers."""
    # Prompts are padded to a multiple of so many positions.
    positions = texts.tokens["obscure"] + (MULTIPLE_OF[machine.device] - 1) / 2
    injections = sum(len(s.magnitudes) * sum(model.cell(layer, positions) for layer in s.layers) for s in sweeps)
    n_cells = texts.n_prompts * sum(sweep.cells_per_prompt for sweep in sweeps)
    # Groups of few prompts are filled up for their clean pass.
    group = MAX_TOKENS[machine.device] // _cells_per_layer(sweeps) // positions
    clean = model.clean_pass(positions) * max(1, MIN_ROWS / max(1, group))
    weights = model.weight_bytes(study.precision)
    return _job(
        machine,
        job,
        cells=n_cells,
        flop=texts.n_prompts * (clean + injections),
        precision=study.precision,
        loaded=weights + model.lens_bytes,
        spread=weights,
        working=model.lens_bytes + _batch_bytes(sweeps, model, positions, study.precision, machine),
        seconds=CELL_SECONDS * n_cells,
    )


def _cells_per_layer(sweeps: list[Sweep]) -> float:
    """Cells of a prompt in each layer that is swept, on average."""
    return sum(sweep.cells_per_prompt for sweep in sweeps) / len({layer for sweep in sweeps for layer in sweep.layers})


def _batch_bytes(
    sweeps: list[Sweep], model: ModelSize, positions: float, precision: Precision, machine: Machine
) -> float:
    """Working memory of a full batch: scores, a block's activations, and the clean passes that it starts from."""
    tokens, width = MAX_TOKENS[machine.device], 2 if precision == "bfloat16" else 4
    n_layers = len({layer for sweep in sweeps for layer in sweep.layers})
    scores = 4 * SCORING * tokens / positions * model.d_vocab
    block = width * tokens * (12 * model.d_model + model.mlp / model.d_model)
    clean = width * tokens / _cells_per_layer(sweeps) * 2 * n_layers * model.d_model
    return max(scores, block) + clean


def _job(
    machine: Machine,
    job: str,
    *,
    loaded: float,
    spread: float,
    working: float,
    flop: float = 0,
    cells: int = 0,
    precision: Precision = "float32",
    seconds: float = 0,
) -> dict[str, Any]:
    """One row: bytes of weights `loaded`, bytes `spread` over GPUs and `working` beside, `seconds` besides arithmetic.

    The blocks of a model on several GPUs take turns, so that time is as on one.
    """
    gpus = gpus_needed(spread, int(machine.gib * GIB)) if machine.gib else 0
    seconds += START_SECONDS + loaded / BYTES_PER_SECOND + flop / machine.rate(precision)
    return {
        "job": job,
        "cells": cells,
        "PFLOP": flop / 1e15,
        "GPUs": gpus,
        "GPU GiB": min((spread + working) / GIB, gpus * machine.gib),
        "host GiB": (START_BYTES + (loaded if gpus else spread + working)) / GIB,
        "hours": seconds / 3600,
    }


def _read_study(path: Path) -> Study:
    try:
        config = safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise StudyError(f"config {path} cannot be read ({reason}); correct the path or the file") from None
    if not isinstance(config, dict):
        raise StudyError(f"config {path} is no mapping of keys; config/README.md describes every key")
    study = parse_study(config)
    check_local_files(study)
    return study


def report(study: Study, machine: Machine, n_prompts: int | None) -> str:
    """The whole answer as text: models and data sets and where their sizes come from, jobs, totals, assumptions."""
    models = {name: model_size(name, model) for name, model in study.models.items()}
    data = {name: data_size(name, dataset, n_prompts) for name, dataset in study.datasets.items()}
    jobs = plan(study, models, data, machine)
    totals = {name: jobs[name].sum() for name in ("cells", "PFLOP", "hours")}
    totals |= {"job": "all, one after another"} | {name: jobs[name].max() for name in ("GPUs", "GPU GiB", "host GiB")}
    table = pd.concat([jobs, pd.DataFrame([totals])[jobs.columns]])
    table["job"] = table["job"].str.ljust(table["job"].str.len().max())
    of_models = [
        {"model": name, "parameters": f"{m.n_parameters / 1e6:,.0f} M", "layers": m.n_layers, "from": m.source}
        for name, m in models.items()
    ]
    of_data = [
        {"data": name, "prompts": d.n_prompts, **{k: f"{n:.1f}" for k, n in d.tokens.items()}, "from": d.source}
        for name, d in data.items()
    ]
    formats = {"cells": "{:,.0f}", "PFLOP": "{:,.2f}", "GPU GiB": "{:.1f}", "host GiB": "{:.1f}", "hours": "{:.2f}"}
    return "\n\n".join(
        [
            pd.DataFrame(of_models).to_string(index=False),
            pd.DataFrame(of_data).to_string(index=False),
            table.to_string(index=False, formatters={name: form.format for name, form in formats.items()}),
            f"GPU hours: {(jobs['hours'] * jobs['GPUs']).sum():.2f}",
            ASSUMED.format(
                precision=study.precision,
                rate=machine.rate(study.precision) / 1e12,
                machine=machine,
                start=START_SECONDS,
                load=BYTES_PER_SECOND / 1e9,
            ),
        ]
    )


def main() -> None:
    """Print a study's plan, or one sentence and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"), help="the study's config")
    parser.add_argument("--gpu", default="h100", help="a machine of resources/costs.yaml; `cpu` for two cores")
    parser.add_argument("--prompts", type=int, help="prompt pairs of a data set that is neither here nor known")
    options = parser.parse_args()
    for library in (transformers.utils.logging, huggingface_hub.utils.logging):
        library.set_verbosity_error()
    try:
        print(report(_read_study(options.config), machine_of(options.gpu), options.prompts))
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
