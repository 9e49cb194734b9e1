# Cells from this study's models: all rules from the download to the cells, and the tables and pages only they allow.
from itertools import chain, product

SOURCE = "models"
CONFIG_SHOWN = STUDY.model_dump(mode="json")
MAY_BE_PAPERS = any(
    source.repository
    and (not source.is_pinned or source.repository[1] in PAPER["models"].values())
    for source in STUDY.models.values()
)
remember = cache
BOS = "bos" if STUDY.attribution.bos else "no-bos"


wildcard_constraints:
    model=match_names(STUDY.models),
    dataset=match_names(STUDY.datasets),
    memories=match_names(kind[0] for kind in STUDY.list_kinds()),


def require_access(wildcards):
    """The marker file that a model on the hub is accessible; nothing for other models."""
    is_of_hub = STUDY.models[wildcards.model].repository is not None
    return ancient(ACCESS.format(**wildcards)) if is_of_hub else []


def list_shards(wildcards):
    """The shards of a model's cells on a data set."""
    shards = STUDY.count_shards(wildcards["model"])
    return expand(
        CELLS_OF_SHARD,
        **wildcards,
        shard=range(1, shards + 1),
        shards=shards,
    )


def list_curated(part=None):
    """The cells of the sweeps of curated memories of a model on a data set: all, or those a part of the study looks at."""
    return lambda wildcards: [
        locate_cells(SweepId(wildcards.model, wildcards.dataset, CURATED, *kind))
        for kind in STUDY.list_curated(part)
    ]


def locate_pairs(dataset):
    return PAIRS.format(dataset=dataset)


def list_pairs(wildcards):
    return [locate_pairs(dataset) for dataset in STUDY.datasets]


include: "resources.smk"
include: "datasets.smk"
include: "models.smk"
include: "text_check.smk"
include: "activations.smk"
include: "attribution.smk"
include: "injections.smk"


MANIFESTS = expand(MANIFEST, model=STUDY.models)


def list_sweeps(wildcards):
    return STUDY.list_sweeps()


def list_own_sweeps(wildcards):
    return list_cells(wildcards)


def list_heads(wildcards):
    return list(product(STUDY.models, STUDY.datasets))


PUBLISHED_CELLS = f"{RESULTS}/published"
PUBLISHED_TABLES, COVERAGE = [], []

if STUDY.published is not None:

    include: "published.smk"


def list_everywhere(path):
    """A file of every model on every data set."""
    return expand(path, model=STUDY.models, dataset=STUDY.datasets)


# The parts that table jobs depend on, and what they read of them.
PARTS = {"models"}
READ_OF_SOURCE = {
    "text_checks": list_everywhere(TEXT_CHECK),
    **{name: list_everywhere(path) for name, path in HEADS.items()},
}

if STUDY.has_population:

    include: "population.smk"

    PARTS.add("population")
    READ_OF_SOURCE["population"] = list_everywhere(POPULATION)


if STUDY.has_controls:

    include: "controls.smk"

    PARTS.add("controls")
    READ_OF_SOURCE |= {
        f"control_{part}": list_everywhere(path)
        for part, path in CONTROLLED.items()
    }


if STUDY.has_mechanisms:

    include: "mechanisms.smk"

    PARTS.add("mechanisms")
    READ_OF_SOURCE |= {
        part: list_everywhere(path) for part, path in MEASURED.items()
    }


def list_published_sweeps(wildcards):
    theirs = {} if STUDY.published is None else list_published()
    return [
        locate_published_cells(sweep)
        for sweep in list_sweeps(wildcards)
        if sweep in theirs
    ]


def list_scored_prompts(wildcards):
    return list_everywhere(ACTIVATIONS)


if STUDY.has_walkthrough:

    include: "walkthrough.smk"


def list_parts(wildcards):
    shards = [
        list_shards({"model": model, "dataset": dataset})
        for model, dataset in list_heads(wildcards)
    ]
    return [*chain(*READ_OF_SOURCE.values()), *chain(*shards)]


PAGES_OF_SOURCE = rules.walkthrough.output if STUDY.has_walkthrough else []
