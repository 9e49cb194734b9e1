# The tables of the whole study.
from memory_injections.terms import PAPER_ENCODING


# Which numbers of the paper this study is compared with: those for its own models and data sets.
rule paper:
    input:
        manifests=MANIFESTS,
        pairs=list_pairs,
    output:
        f"{RESULTS}/paper.json",
    log:
        f"{LOGS}/paper.log",
    benchmark:
        f"{BENCHMARKS}/paper.tsv"
    priority: 1  # the evidence waits for it
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("paper"),
        source=SOURCE,
        models=list(STUDY.models),
        paper=PAPER,
    script:
        "../scripts/paper.py"


# What is broken down by no column has no groups.
PARTS = {*PARTS, "groups"} if STUDY.by else PARTS

# The tables of the library's registry. A job makes those that come from the same calculation.
TABLE_JOBS = {
    name: made
    for name, made in list_table_jobs().items()
    if made.part is None or made.part in PARTS
}
STUDY_TABLES = {
    table: f"{RESULTS}/tables/{table}.csv"
    for made in TABLE_JOBS.values()
    for table in made.tables
}


# What table jobs read, by the names in the registry.
READ = {
    "cells": list_cells,
    "pairs": list_pairs,
    "paper": [rules.paper.output[0]],
    "scored_prompts": list_scored_prompts,
    "judged": list_tables_named(
        *TABLE_JOBS["evidence"].tables,
        "control_contrasts",
        "specificity",
        "by_outcome",
        "doses",
        "informative_contrasts",
    ),
    "coverage": COVERAGE,
    "paper_encoding_cells": lambda wildcards: [
        locate_cells(sweep)
        for sweep in list_sweeps(wildcards)
        if (sweep.memories, sweep.coding) == (CURATED, PAPER_ENCODING)
    ],
    "own_cells": list_own_sweeps,
    "authors_cells": list_published_sweeps,
    # Nothing, unless the source of the cells has them.
    **dict.fromkeys(("population", *(f"control_{part}" for part in CONTROLLED)), []),
    **READ_OF_SOURCE,
}
# The settings that they take.
TAKEN = {
    "seed": STUDY.seed,
    "margin": STUDY.margin,
    "outcome": STUDY.swept_outcome,
    "judged_by": STUDY.outcome,
    "source": SOURCE,
    "part_of_prompts": STUDY.population,
    "by": list(STUDY.by),
    "kinds": STUDY.controls.kinds if "controls" in PARTS else [],
    "known_ranks": STUDY.controls.known_ranks if "controls" in PARTS else [],
}

try:
    READ_BY = {
        name: made.pick(READ, made.reads, "reads") for name, made in TABLE_JOBS.items()
    }
    TAKEN_BY = {
        name: made.pick(TAKEN, made.takes, "takes") for name, made in TABLE_JOBS.items()
    }
except StudyError as error:
    raise WorkflowError(describe_error(error)) from None

for made in TABLE_JOBS.values():

    rule:
        name:
            made.name
        input:
            **READ_BY[made.name],
        output:
            [
                (
                    report(
                        STUDY_TABLES[table],
                        category="Tables",
                        labels={"table": label},
                        caption=locate_caption(made, f"{table}.rst"),
                    )
                    if label
                    else STUDY_TABLES[table]
                )
                for table, label in made.tables.items()
            ],
        log:
            f"{LOGS}/tables/{made.name}.log",
        benchmark:
            f"{BENCHMARKS}/tables/{made.name}.tsv"
        priority: made.priority
        localrule: made.is_quick
        conda:
            "../envs/memory-injections.yaml"
        params:
            **TAKEN_BY[made.name],
            code=digest_code("tables", made.code),
        script:
            "../scripts/tables.py"
