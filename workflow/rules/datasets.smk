# Prompt pairs and word lists, from any source, in one checked form.


rule pairs:
    input:
        lambda wildcards: local_path(STUDY.datasets[wildcards.dataset]),
    output:
        "results/shared/datasets/{dataset}.csv",
    log:
        "logs/shared/datasets/{dataset}.log",
    cache: True
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("pairs"),
        source=lambda wildcards: STUDY.datasets[wildcards.dataset].model_dump(),
    script:
        "../scripts/pairs.py"


if STUDY.words is not None:

    rule words:
        input:
            local_path(STUDY.words),
        output:
            f"{RESULTS}/words.csv",
        log:
            f"{LOGS}/words.log",
        cache: True
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=code_of("words"),
            source=STUDY.words.model_dump(),
        script:
            "../scripts/words.py"
