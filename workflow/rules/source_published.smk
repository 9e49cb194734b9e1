# Cells that the authors published, in place of this study's own; no model runs.
SOURCE = "published"
CONFIG_SHOWN = STUDY.model_dump(
    mode="json", include={"study", "seed", "margin", "by", "published"}
)
MANIFESTS, PAGES_OF_SOURCE = [], []
MAY_BE_PAPERS = True
PUBLISHED_CELLS = CELLS


include: "published.smk"


# What is known of the cells: sweeps with a flag do not count for the claims.
COVERAGE = rules.coverage.output
PARTS, READ_OF_SOURCE = set(), {}


def remember(function):
    return function


def locate_pairs(dataset):
    return f"{RESULTS}/published/pairs/{dataset}.csv"


def list_pairs(wildcards):
    datasets = {sweep.dataset for sweep in list_published()}
    return [locate_pairs(dataset) for dataset in sorted(datasets)]


def list_sweeps(wildcards):
    return list(list_published())


def list_published_sweeps(wildcards):
    return list_cells(wildcards)


def list_own_sweeps(wildcards):
    return []


def list_heads(wildcards):
    return []


def list_parts(wildcards):
    return []


def list_scored_prompts(wildcards):
    return list_cells(wildcards)
