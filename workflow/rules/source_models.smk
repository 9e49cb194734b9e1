# Cells from this study's models: all rules from the download to the cells, and the tables and pages only they allow.
from itertools import chain, product

SOURCE = "models"
CONFIG_SHOWN = STUDY.model_dump(mode="json")
MAY_BE_PAPERS = any(
    source.repository
    and (not source.is_pinned or source.repository[1] in PAPER["models"].values())
    for source in STUDY.models.values()
)
BOS = "bos" if STUDY.attribution.bos else "no-bos"


wildcard_constraints:
    model=match_names(STUDY.models),
    dataset=match_names(STUDY.datasets),
    memories=match_names(memories for memories, _ in STUDY.list_kinds()),


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


def list_curated(part):
    """The cells of the sweeps of curated memories, of a model on a data set, that a part of the study looks at."""
    return lambda wildcards: [
        locate_cells(SweepId(wildcards.model, wildcards.dataset, CURATED, encoding))
        for encoding in STUDY.list_curated(part)
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


CONTROL_TABLES, CAUSE_TABLES = {}, {}

if STUDY.has_controls:

    include: "controls.smk"

    CONTROL_TABLES = {Path(table).stem: table for table in rules.controls.output}


if STUDY.has_causes:

    include: "causes.smk"

    CAUSE_TABLES = {Path(table).stem: table for table in rules.causes.output}


def list_published_sweeps(wildcards):
    theirs = {} if STUDY.published is None else list_published()
    return [
        locate_published_cells(sweep)
        for sweep in list_sweeps(wildcards)
        if sweep in theirs
    ]


def list_scored_prompts(wildcards):
    return expand(ACTIVATIONS, model=STUDY.models, dataset=STUDY.datasets)


TABLES_OF_SOURCE = [
    *rules.text_check_tables.output,
    *rules.table2.output,
    *CONTROL_TABLES.values(),
    *CAUSE_TABLES.values(),
    *PUBLISHED_TABLES,
]

if STUDY.has_walkthrough:

    include: "walkthrough.smk"


def list_parts(wildcards):
    parts = [*HEADS.values()]
    if STUDY.has_controls:
        parts += CONTROLLED.values()
    if STUDY.has_causes:
        parts += MEASURED.values()
    shards = [
        list_shards({"model": model, "dataset": dataset})
        for model, dataset in list_heads(wildcards)
    ]
    return [*expand(parts, model=STUDY.models, dataset=STUDY.datasets), *chain(*shards)]


PAGES_OF_SOURCE = rules.walkthrough.output if STUDY.has_walkthrough else []
