# Cells that the authors published, in place of this study's own; no model runs.
SOURCE = "published"
CONFIG_SHOWN = STUDY.model_dump(mode="json", include={"study", "seed", "published"})
MANIFESTS, PAIRS, TABLES_OF_SOURCE, PAGES_OF_SOURCE = [], [], [], []
PUBLISHED_CELLS = CELLS


wildcard_constraints:
    model="[^/]+",
    dataset="[^/.]+",
    memories="[^/.]+",


include: "published.smk"


def list_sweeps(wildcards):
    return [SweepId.from_path(path) for path in read_inventory()]


def list_published_sweeps(wildcards):
    return list_cells(wildcards)


def list_own_sweeps(wildcards):
    return []


def list_heads(wildcards):
    return []


def list_scored_prompts(wildcards):
    return list_cells(wildcards)
