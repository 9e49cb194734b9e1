# Prompt pairs and word lists from any source, checked and in one common form.


rule pairs:
    input:
        lambda wildcards: list_local(STUDY.datasets[wildcards.dataset]),
    output:
        # A job that fails, maybe of another study, leaves the last good table in place.
        pairs=update(PAIRS),
        seal=update(seal(PAIRS)),
    log:
        "logs/shared/datasets/{dataset}.log",
    cache: True
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=lambda wildcards: digest_code(
            "pairs", name_class(type(STUDY.datasets[wildcards.dataset]))
        ),
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
            words=update(f"{RESULTS}/words.csv"),
            seal=update(seal(f"{RESULTS}/words.csv")),
        log:
            f"{LOGS}/words.log",
        cache: True
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_code("words", name_class(type(STUDY.words))),
            source=STUDY.words.model_dump(),
            contents=lambda wildcards: hash_source(STUDY.words),
        script:
            "../scripts/words.py"
