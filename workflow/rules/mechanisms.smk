# What injections do inside a model, and to prompts and texts that they are not meant for.
MEASURED = {
    part: f"{RESULTS}/mechanisms/{{model}}/{{dataset}}/{part}.parquet"
    for part in ("patching", "direct_effects", "logit_lens", "side_effects", "texts")
}


rule mechanism_measurements:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        processed=rules.processed_weights.output.processed,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        curated=list_curated(STUDY.mechanisms),
        text=locate_source("../resources/neutral_text.txt"),
    output:
        **MEASURED,
    log:
        f"{LOGS}/mechanisms/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/mechanisms/{{model}}/{{dataset}}.tsv"
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_MECHANISMS,
    params:
        code=digest_code("mechanism_measurements"),
        model="{model}",
        dataset="{dataset}",
        mechanisms=STUDY.mechanisms.model_dump(),
        seed=STUDY.seed,
        outcome=STUDY.swept_outcome,
        precision=STUDY.precision,
        unfinished=lambda wildcards: f"{SHARED}/unfinished/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/mechanism_measurements.py"
