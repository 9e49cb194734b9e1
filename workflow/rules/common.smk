# The study that the config describes, checked before anything runs, and the names that wildcards may take.
import re
from os import environ, pathsep
from pathlib import Path

from memory_injections.checks import check_known_models, check_local_files, model_files
from memory_injections.config import CURATED, parse_study
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

# Jobs in an environment of their own find the library where the workflow lies.
environ["PYTHONPATH"] = pathsep.join(
    filter(None, [workflow.basedir, environ.get("PYTHONPATH")])
)

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
RANDOM_MEMORIES = any(memories != CURATED for memories, _ in SWEEPS)
FIGURE = f"{RESULTS}/figures"
BOS = "bos" if STUDY.attribution.bos else "no-bos"


def one_of(names):
    """A wildcard constraint: one of these names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    model=one_of(STUDY.models),
    dataset=one_of(STUDY.datasets),
    memories=one_of(dict.fromkeys(memories for memories, _ in SWEEPS)),
    encoding=one_of(dict.fromkeys(encoding for _, encoding in SWEEPS)),
    bos="bos|no-bos",
    kind="explicit|obscure|difference",
    target="answer|memory",


def cores_of_a_model():
    """All cores for one job with a model at a time, or a share of them for each GPU."""
    settings = workflow.resource_settings
    gpus = settings.resources["gpu"].value if "gpu" in settings.resources else 1
    return max(1, (settings.cores or 1) // max(1, gpus))


def every_sweep(pattern):
    """A pattern of paths for every model, data set and sweep of the study."""
    return expand(
        pattern, model=STUDY.models, dataset=STUDY.datasets, sweep=SWEEP_NAMES
    )


def every_dataset(pattern, **wildcards):
    """A pattern of paths for every model and data set of the study."""
    return expand(pattern, model=STUDY.models, dataset=STUDY.datasets, **wildcards)


def local_path(source):
    """The file that a source reads on this machine: results depend on it."""
    return [source.path] if source.source == "file" else []


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
    return sorted(
        (memories for memories, encoding in SWEEPS if encoding == wildcards.encoding),
        key=CURATED.__ne__,
    )


def curated_and_random(wildcards):
    """The sweeps that a comparison shows, in the order of `kinds_of_memory`."""
    return expand(
        rules.injections.output[0],
        memories=kinds_of_memory(wildcards),
        allow_missing=True,
    )
