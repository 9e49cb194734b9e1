# The study that the config describes, checked before anything runs, and the names that wildcards may take.
import json
import re
import sys
from os import environ, pathsep
from pathlib import Path

# This checkout's library, whichever is installed: here, and in jobs, which may run in an environment of their own.
sys.path.insert(0, str(workflow.basedir))
environ["PYTHONPATH"] = pathsep.join(
    filter(None, [str(workflow.basedir), environ.get("PYTHONPATH")])
)

import yaml
from memory_injections.checks import (
    check_known_models,
    check_local_files,
    model_files,
    result_files,
)
from memory_injections.config import CURATED, parse_study
from memory_injections.digest import script_digest
from memory_injections.errors import StudyError

try:
    STUDY = parse_study(config)
    check_local_files(STUDY)
    check_known_models(
        STUDY,
        [
            Path(f"results/shared/models/{model}/manifest.json")
            for model in STUDY.models
        ],
    )
except StudyError as error:
    raise WorkflowError(str(error)) from None

# Rules with `localrule` need the internet, or take a second: on a cluster they run where Snakemake does.
RESULTS = f"results/{STUDY.study}"
LOGS = f"logs/{STUDY.study}"
BENCHMARKS = f"benchmarks/{STUDY.study}"
SWEEPS = STUDY.sweeps()
SWEEP_NAMES = [f"{memories}.{encoding}" for memories, encoding in SWEEPS]
SWEEP_GRIDS = [
    (
        memories,
        encoding,
        STUDY.grid(memories, encoding).model_dump(exclude={"memories", "encodings"}),
    )
    for memories, encoding in SWEEPS
]
# What the paper says.
PAPER = yaml.safe_load(
    (Path(workflow.basedir).parent / "resources" / "paper.yaml").read_text()
)
RANDOM_MEMORIES = any(memories != CURATED for memories, _ in SWEEPS)
# The walk-through needs a model, and the paper's own kind of injection.
WALKTHROUGH = not STUDY.is_reanalysis and (CURATED, "unembed") in SWEEPS
FIGURE = f"{RESULTS}/figures"
# Our cells, and the authors': in a re-analysis theirs take the place of ours.
INJECTIONS = f"{RESULTS}/injections"
PUBLISHED = INJECTIONS if STUDY.is_reanalysis else f"{RESULTS}/published"
BOS = "bos" if STUDY.attribution.bos else "no-bos"


def one_of(names):
    """A wildcard constraint: one of these names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    model="[^/]+" if STUDY.is_reanalysis else one_of(STUDY.models),
    dataset="[^/.]+" if STUDY.is_reanalysis else one_of(STUDY.datasets),
    memories=(
        "[^/.]+"
        if STUDY.is_reanalysis
        else one_of(dict.fromkeys(memories for memories, _ in SWEEPS))
    ),
    encoding="unembed|embed|layer",
    bos="bos|no-bos",
    kind="explicit|obscure|difference",
    target="answer|memory",
    shard=r"\d+",
    shards=r"\d+",


def code_of(script):
    """What a rule's script computes, whatever its comments: a result depends on it as on a parameter."""
    return script_digest(Path(workflow.basedir) / "scripts" / f"{script}.py")


def shards_of_cells(wildcards):
    """The parts in which a model's cells on a data set are computed."""
    shards = STUDY.shards_of(wildcards.model)
    return expand(
        f"{RESULTS}/cells/{wildcards.model}/{wildcards.dataset}/{{shard}}-of-{shards}.parquet",
        shard=range(1, shards + 1),
    )


def cores_of_a_model():
    """All cores for one job with a model at a time, or a share of them for each GPU."""
    settings = workflow.resource_settings
    gpus = settings.resources["gpu"].value if "gpu" in settings.resources else 1
    return max(1, (settings.cores or 1) // max(1, gpus))


def published_inventory():
    """The authors' sweeps and their folders, known once their results are there."""
    with checkpoints.published.get().output[0].open() as file:
        return json.load(file)


def published_sweep(wildcards):
    """The one of them that the wildcards name."""
    return next(
        sweep
        for sweep in published_inventory()
        if dict(wildcards.items()).items() <= sweep.items()
    )


def published_sweeps():
    """Every (model, data set, memories.encoding) of the authors."""
    return [
        (sweep["model"], sweep["dataset"], f"{sweep['memories']}.{sweep['encoding']}")
        for sweep in published_inventory()
    ]


def own_sweeps():
    """Every (model, data set, memories.encoding) that the config asks for."""
    return [
        (model, dataset, sweep)
        for model in STUDY.models
        for dataset in STUDY.datasets
        for sweep in SWEEP_NAMES
    ]


def all_sweeps():
    """The sweeps that tables and figures are made of."""
    return published_sweeps() if STUDY.is_reanalysis else own_sweeps()


def every_sweep(pattern):
    """A pattern of paths for every model, data set and sweep of the study."""

    def paths(wildcards):
        return [
            pattern.format(model=model, dataset=dataset, sweep=sweep)
            for model, dataset, sweep in all_sweeps()
        ]

    return paths if STUDY.is_reanalysis else paths(None)


def every_published_sweep(wildcards):
    """The authors' cells of every sweep of the study that they published."""
    if STUDY.published is None:
        return []
    wanted = set(all_sweeps())
    return [
        f"{PUBLISHED}/{model}/{dataset}/{sweep}.parquet"
        for model, dataset, sweep in published_sweeps()
        if (model, dataset, sweep) in wanted
    ]


def every_dataset(pattern, **wildcards):
    """A pattern of paths for every model and data set of the study."""
    return expand(pattern, model=STUDY.models, dataset=STUDY.datasets, **wildcards)


def names_in_paths(wildcards, input):
    """`model/data set`, and `/memories.encoding` of a cell table, of every input."""
    return [
        re.sub(r"(\.bos\.safetensors|\.parquet)$", "", path).split("/", 3)[-1]
        for path in input
    ]


def local_path(source):
    """The file that a source reads on this machine: results depend on it."""
    path = getattr(source, "path", None)
    return [path] if path else []


def local_model(wildcards):
    """The files of a local model folder: results depend on them."""
    source = STUDY.models[wildcards.model]
    return model_files(source.path) if source.source == "local" else []


def access_to_model(wildcards):
    """The mark that the hub lets us have a model of it."""
    source = STUDY.models[wildcards.model].source
    return rules.access.output if source == "huggingface" else []


def figure(name, caption, category, **labels):
    """The PNG of a figure, annotated for `snakemake --report`."""
    return report(
        f"{FIGURE}/{name}.png",
        category=category,
        subcategory="{model}, {dataset}",
        labels={**labels, "model": "{model}", "data": "{dataset}"},
        caption=f"../report/{caption}.rst",
    )


def kinds_of_memory(wildcards):
    """Every kind of memory that is swept in one encoding, curated first."""
    here = [
        sweep.rsplit(".", 1)
        for model, dataset, sweep in all_sweeps()
        if (model, dataset) == (wildcards.model, wildcards.dataset)
    ]
    return sorted(
        (memories for memories, encoding in here if encoding == wildcards.encoding),
        key=CURATED.__ne__,
    )


def curated_and_random(wildcards):
    """The sweeps that a comparison shows, in the order of `kinds_of_memory`."""
    return expand(
        f"{INJECTIONS}/{wildcards.model}/{wildcards.dataset}/{{memories}}.{wildcards.encoding}.parquet",
        memories=kinds_of_memory(wildcards),
    )


def every_comparison(pattern):
    """A pattern of paths for every model, data set and encoding with curated and random memories."""

    def paths(wildcards):
        sweeps = all_sweeps()
        return [
            pattern.format(model=model, dataset=dataset, encoding=encoding)
            for encoding in ("unembed", "embed", "layer")
            for model, dataset, sweep in sweeps
            if sweep == f"{CURATED}.{encoding}"
            and any(
                other != sweep and other.endswith(f".{encoding}")
                for *of, other in sweeps
                if of == [model, dataset]
            )
        ]

    return paths if STUDY.is_reanalysis else paths(None)
