# What each model reads of each data set: checked before it reads any prompt, shown in the report.

TEXT_CHECK = f"{SHARED}/text_check/{{model}}/{{dataset}}.parquet"


# Shared, as are the activations that wait for it. It takes seconds, so no cluster is asked for it.
rule text_check:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        pairs=rules.pairs.output[0],
    output:
        texts=TEXT_CHECK,
        seal=seal(TEXT_CHECK),
    log:
        "logs/shared/text_check/{model}/{dataset}.log",
    cache: True
    priority: 4
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("text_check"),
        inputs=hash_inputs("manifest", "pairs"),
        model="{model}",
        dataset="{dataset}",
    script:
        "../scripts/text_check.py"


rule text_check_tables:
    input:
        expand(TEXT_CHECK, model=STUDY.models, dataset=STUDY.datasets),
    output:
        report(
            f"{RESULTS}/tables/text_check.csv",
            category="Tables",
            labels={"table": "text check"},
            caption="../report/text_check.rst",
        ),
        report(
            f"{RESULTS}/tables/text_check_pairs.csv",
            category="Tables",
            labels={"table": "text check, every pair"},
            caption="../report/text_check_pairs.rst",
        ),
    log:
        f"{LOGS}/tables/text_check.log",
    benchmark:
        f"{BENCHMARKS}/tables/text_check.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("text_check_tables"),
    script:
        "../scripts/text_check_tables.py"
