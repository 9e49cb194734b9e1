"""What a study costs and what it can find, as a text for people.

Sizes of models and data, a row for every job with a model, totals, and a row for the effects on each data set.
"""

from pathlib import Path

import pandas as pd

from memory_injections.analysis.effects import LEVEL, POWER
from memory_injections.config.study import Study
from memory_injections.models.sizes import GIB
from memory_injections.planning.costs import BYTES_PER_SECOND, START_SECONDS, Job, plan_study
from memory_injections.planning.machines import Machine
from memory_injections.planning.power import OF_CLUSTER, tabulate_power
from memory_injections.planning.sizes import find_data_size, find_model_size

ASSUMED = """\
Assumed: injections in {precision} at {rate:.3g} TFLOP/s on {machine.name}, all else in float32 (rate of large products:
{machine.origin}; the engine's share of it: measured on an H100 and on two cores). {start} s to start a job,
{load:g} GB/s to load weights. Weights are processed on two CPU cores. The blocks of a model on several GPUs take turns.
Token numbers are estimates. Batches are halved until they fit into the memory that weights leave on a GPU.
The disk holds the activations, which stay for later studies; models and tables come on top."""
FINDS = """\
Finds: the mean effect, in nats, that the sign-flip test at {level:.0%} finds with a power of {power:.0%} where prompts'
effects vary by SD, {common:.0%} of their variance common to a cluster; {difference:g} nats take so many clusters."""
FORMATS = {
    "cells": "{:,.0f}", "PFLOP": "{:,.2f}", "GPU GiB": "{:.1f}", "host GiB": "{:.1f}", "disk GiB": "{:.2f}",
    "hours": "{:.2f}",
}  # fmt: skip


def write_plan(
    study: Study,
    machine: Machine,
    shared: Path | None = None,
    n_prompts: int | None = None,
    difference: float | None = None,
) -> str:
    """A study's plan as text: models and data sets and where their sizes come from, jobs, totals, effects it can find.

    `shared` is the folder that studies share what they fetch in, beside their own; `n_prompts` the number of prompt
    pairs of a data set whose size nothing tells; `difference` the effect to be found, in nats, or else the margin.
    """
    difference = difference or study.margin
    models = {name: find_model_size(name, source, shared) for name, source in study.models.items()}
    data = {name: find_data_size(name, source, n_prompts) for name, source in study.datasets.items()}
    model_sizes = {name: size for name, (size, _) in models.items()}
    data_sizes = {name: size for name, (size, _) in data.items()}
    jobs = tabulate_jobs(plan_study(study, model_sizes, data_sizes, machine))
    of_models = [
        {
            "model": name,
            "parameters": f"{size.n_parameters / 1e6:,.0f} M",
            "layers": size.n_layers,
            "activations of a prompt": f"{size.activation_bytes / 1e3:,.1f} kB",
            "from": origin,
        }
        for name, (size, origin) in models.items()
    ]
    of_data = [
        {"data": name, "prompts": size.n_prompts}
        | {kind: f"{tokens:.1f}" for kind, tokens in size.tokens.items()}
        | {"from": origin}
        for name, (size, origin) in data.items()
    ]
    assumed = ASSUMED.format(
        precision=study.precision,
        rate=machine.rate(study.precision) / 1e12,
        machine=machine,
        start=START_SECONDS,
        load=BYTES_PER_SECOND / 1e9,
    )
    gpu_hours = f"GPU hours: {(jobs['hours'] * jobs['GPUs']).sum():.2f}"
    results = shared.parent / study.study if shared else None
    n_of_data = {name: size.n_prompts for name, size in data_sizes.items()}
    effects = tabulate_power(study, n_of_data, difference, results).to_string(index=False)
    finds = FINDS.format(level=LEVEL, power=POWER, common=OF_CLUSTER, difference=difference)
    tables = [pd.DataFrame(of_models).to_string(index=False), pd.DataFrame(of_data).to_string(index=False)]
    return "\n\n".join([*tables, _print_jobs(jobs), gpu_hours, assumed, effects, finds])


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
            "disk GiB": job.disk_bytes / GIB,
            "hours": job.seconds / 3600,
        }
        for name, job in jobs.items()
    )


def _print_jobs(jobs: pd.DataFrame) -> str:
    """The table with its totals: sums of what adds up, the largest of what a machine must have."""
    totals = {name: jobs[name].sum() for name in ("cells", "PFLOP", "disk GiB", "hours")}
    totals |= {"job": "all, one after another"} | {name: jobs[name].max() for name in ("GPUs", "GPU GiB", "host GiB")}
    table = pd.concat([jobs, pd.DataFrame([totals])[jobs.columns]])
    table["job"] = table["job"].str.ljust(table["job"].str.len().max())
    return table.to_string(index=False, formatters={name: form.format for name, form in FORMATS.items()})
