# The sites that the paper reports, by every rule of averaging.
from memory_injections.paper.reported import find_reported_site


rule headline:
    input:
        lambda wildcards: [
            locate_cells(sweep)
            for sweep in list_sweeps(wildcards)
            if sweep.memories == CURATED and find_reported_site(sweep, PAPER)
        ],
    output:
        headline=report(
            f"{RESULTS}/tables/headline.csv",
            category="Tables",
            labels={"table": "the headline by every average"},
            caption="../report/headline.rst",
        ),
        prompts=report(
            f"{RESULTS}/tables/headline_prompts.csv",
            category="Tables",
            labels={"table": "the prompts behind the headline"},
            caption="../report/headline_prompts.rst",
        ),
    log:
        f"{LOGS}/tables/headline.log",
    benchmark:
        f"{BENCHMARKS}/tables/headline.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("headline"),
        paper=PAPER,
    script:
        "../scripts/headline.py"
