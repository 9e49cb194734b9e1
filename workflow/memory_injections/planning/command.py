"""Say what a study costs before anything runs.

    python -m memory_injections.planning.command --config study.yaml --gpu a100-40

prints a row for every job that holds a model, in the order of the workflow:

- `PFLOP`: 10^15 operations of its matrix products and attention; `cells` is their number, where it computes cells
- `GPUs`: how many its model is spread over; `GPU GiB`: weights and working memory on all of them together
- `host GiB`: memory of its process; `hours`: on one machine of the kind, the job by itself

and before them the sizes of models and data sets, and where these are from. `planning.costs` says what is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import pandas as pd
import transformers

from memory_injections.config.files import read_config
from memory_injections.config.messages import describe_error
from memory_injections.config.study import Study, parse_study
from memory_injections.errors import StudyError
from memory_injections.models.sizes import GIB
from memory_injections.planning.costs import BYTES_PER_SECOND, START_SECONDS, Job, plan_study
from memory_injections.planning.machines import Machine, UnknownRateError, find_machine
from memory_injections.planning.sizes import (
    DataSize,
    UnknownDataSizeError,
    UnknownModelSizeError,
    find_data_size,
    find_model_size,
)

ASSUMED = """\
Assumed: injections in {precision} at {rate:.3g} TFLOP/s on {machine.name}, all else in float32 (rate of large products:
{machine.origin}; the engine's share of it: measured on an H100 and on two cores). {start} s to start a job,
{load:g} GB/s to load weights. The lens is taken on two CPU cores. The blocks of a model on several GPUs take turns.
Token numbers are estimates. Batches are halved until they fit into the memory that weights leave on a GPU."""
FORMATS = {"cells": "{:,.0f}", "PFLOP": "{:,.2f}", "GPU GiB": "{:.1f}", "host GiB": "{:.1f}", "hours": "{:.2f}"}


def read_study(path: Path) -> Study:
    """The study of a config file; raises `StudyError` if it cannot be read or has no jobs with a model."""
    study = parse_study(read_config(path))
    if study.is_reanalysis:
        raise StudyError(f"config {path} has no models: a re-analysis of published results needs no plan")
    return study


def write_plan(study: Study, machine: Machine, shared: Path | None = None, n_prompts: int | None = None) -> str:
    """A study's plan as text: models and data sets and where their sizes come from, jobs, totals, assumptions.

    `shared` is the folder that studies share what they fetch in, `n_prompts` the number of prompt pairs of a data set
    whose size nothing tells.
    """
    models = {name: find_model_size(name, source, shared) for name, source in study.models.items()}
    data = {name: find_data_size(name, source, n_prompts) for name, source in study.datasets.items()}
    model_sizes = {name: size for name, (size, _) in models.items()}
    data_sizes = {name: size for name, (size, _) in data.items()}
    jobs = tabulate_jobs(plan_study(study, model_sizes, data_sizes, machine))
    of_models = [
        {"model": name, "parameters": f"{size.n_parameters / 1e6:,.0f} M", "layers": size.n_layers, "from": origin}
        for name, (size, origin) in models.items()
    ]
    of_data = [{"data": name, **_describe_data(size), "from": origin} for name, (size, origin) in data.items()]
    assumed = ASSUMED.format(
        precision=study.precision,
        rate=machine.rate(study.precision) / 1e12,
        machine=machine,
        start=START_SECONDS,
        load=BYTES_PER_SECOND / 1e9,
    )
    gpu_hours = f"GPU hours: {(jobs['hours'] * jobs['GPUs']).sum():.2f}"
    tables = [pd.DataFrame(of_models).to_string(index=False), pd.DataFrame(of_data).to_string(index=False)]
    return "\n\n".join([*tables, _print_jobs(jobs), gpu_hours, assumed])


def _describe_data(size: DataSize) -> dict[str, object]:
    return {"prompts": size.n_prompts, **{kind: f"{tokens:.1f}" for kind, tokens in size.tokens.items()}}


def tabulate_jobs(jobs: dict[str, Job]) -> pd.DataFrame:
    """A row for every job, in the units that a reader sees."""
    return pd.DataFrame(
        {
            "job": name,
            "cells": job.cells,
            "PFLOP": job.flop / 1e15,
            "GPUs": job.gpus,
            "GPU GiB": job.gpu_bytes / GIB,
            "host GiB": job.host_bytes / GIB,
            "hours": job.seconds / 3600,
        }
        for name, job in jobs.items()
    )


def _print_jobs(jobs: pd.DataFrame) -> str:
    """The table with its totals: sums of what adds up, the largest of what a machine must have."""
    totals = {name: jobs[name].sum() for name in ("cells", "PFLOP", "hours")}
    totals |= {"job": "all, one after another"} | {name: jobs[name].max() for name in ("GPUs", "GPU GiB", "host GiB")}
    table = pd.concat([jobs, pd.DataFrame([totals])[jobs.columns]])
    table["job"] = table["job"].str.ljust(table["job"].str.len().max())
    return table.to_string(index=False, formatters={name: form.format for name, form in FORMATS.items()})


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the study's config")
    parser.add_argument("--gpu", default="h100", help="the machine, `cpu` for two cores; a wrong name lists all")
    parser.add_argument("--shared", type=Path, help="the folder in which studies share what they fetch")
    parser.add_argument("--prompts", type=int, help="prompt pairs of a data set whose size nothing tells")
    return parser.parse_args(arguments)


def _word_error(error: StudyError, options: argparse.Namespace) -> str:
    """The error's sentence for a user of this command."""

    def fetch(*parts: str) -> str:
        return f"`snakemake --cores 1 {options.shared.joinpath(*parts)} --configfile {options.config}`"

    match error:
        case UnknownModelSizeError(name=name) if options.shared:
            return f"{error}; fetch it with {fetch('models', name, 'manifest.json')}"
        case UnknownModelSizeError():
            return f"{error}; once it is, say with --shared in which folder studies share what they fetch"
        case UnknownDataSizeError(name=name):
            count = f" ({fetch('datasets', f'{name}.csv')} fetches them to be counted)" if options.shared else ""
            return f"{error}; say it with --prompts{count}"
        case UnknownRateError():
            return f"config key precision: {error}"
    return describe_error(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a study's plan, or one sentence on standard error; returns the exit status."""
    options = _read_options(arguments)
    for library in (transformers.utils.logging, huggingface_hub.utils.logging):
        library.set_verbosity_error()
    try:
        print(write_plan(read_study(options.config), find_machine(options.gpu), options.shared, options.prompts))
    except StudyError as error:
        print(_word_error(error, options), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
