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
