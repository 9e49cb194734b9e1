# Prompt pairs and word lists from any source, checked and in one common form.


rule pairs:
    input:
        lambda wildcards: list_local(STUDY.datasets[wildcards.dataset]),
    output:
        pairs=PAIRS,
        seal=seal(PAIRS),
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
        contents=lambda wildcards: hash_source(STUDY.datasets[wildcards.dataset]),
    script:
        "../scripts/pairs.py"


if STUDY.words is not None:

    rule words:
        input:
            list_local(STUDY.words),
        output:
            words=f"{RESULTS}/words.csv",
            seal=seal(f"{RESULTS}/words.csv"),
        log:
            f"{LOGS}/words.log",
        cache: True
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_source("words", STUDY.words),
            source=STUDY.words.model_dump(),
            contents=lambda wildcards: hash_source(STUDY.words),
        script:
            "../scripts/words.py"
