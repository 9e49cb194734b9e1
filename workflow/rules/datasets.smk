# Prompt pairs and word lists from any source, checked and in one common form.


rule pairs:
    input:
        lambda wildcards: list_local(STUDY.datasets[wildcards.dataset]),
    output:
        pairs=keep(PAIRS),
        seal=keep(seal(PAIRS)),
    log:
        "logs/shared/datasets/{dataset}.log",
    wildcard_constraints:
        dataset=match_names(
            name for name, source in STUDY.datasets.items() if is_fixed(source)
        ),
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


# A cache would return an old state of a branch.
use rule pairs as unpinned_pairs with:
    wildcard_constraints:
        dataset=match_names(
            name for name, source in STUDY.datasets.items() if not is_fixed(source)
        ),
    cache: False


if STUDY.words is not None:

    rule words:
        input:
            list_local(STUDY.words),
        output:
            words=keep(f"{RESULTS}/words.csv"),
            seal=keep(seal(f"{RESULTS}/words.csv")),
        log:
            f"{LOGS}/words.log",
        cache: is_fixed(STUDY.words)
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_code("words", name_class(type(STUDY.words))),
            source=STUDY.words.model_dump(),
            contents=lambda wildcards: hash_source(STUDY.words),
        script:
            "../scripts/words.py"
