# Prompt pairs and word lists from any source, checked and in one common form.


rule pairs:
    input:
        lambda wildcards: STUDY.datasets[wildcards.dataset].local_files(),
    output:
        "results/shared/datasets/{dataset}.csv",
    log:
        "logs/shared/datasets/{dataset}.log",
    cache: True
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=lambda wildcards: digest_source("pairs", STUDY.datasets[wildcards.dataset]),
        dataset="{dataset}",
        source=lambda wildcards: STUDY.datasets[wildcards.dataset].model_dump(),
    script:
        "../scripts/pairs.py"


if STUDY.words is not None:

    rule words:
        input:
            STUDY.words.local_files(),
        output:
            f"{RESULTS}/words.csv",
        log:
            f"{LOGS}/words.log",
        cache: True
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_source("words", STUDY.words),
            source=STUDY.words.model_dump(),
        script:
            "../scripts/words.py"
