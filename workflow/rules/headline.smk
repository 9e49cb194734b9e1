# The sites that the paper reports, by every rule of averaging.
from memory_injections.paper.reported import PAPER_ENCODING


rule headline:
    input:
        cells=lambda wildcards: [
            locate_cells(sweep)
            for sweep in list_sweeps(wildcards)
            if (sweep.memories, sweep.encoding) == (CURATED, PAPER_ENCODING)
        ],
        paper=rules.paper.output[0],
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
    script:
        "../scripts/headline.py"
