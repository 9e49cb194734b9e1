# What injections do inside a model, and to prompts and texts that they are not meant for.
MEASURED = {
    part: f"{RESULTS}/causes/{{model}}/{{dataset}}/{part}.parquet"
    for part in ("patching", "direct_effects", "logit_lens", "side_effects", "texts")
}


rule cause_measurements:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        lens=rules.lens.output.lens,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        curated=list_curated(STUDY.causes),
        text=locate_source("../resources/neutral_text.txt"),
    output:
        **MEASURED,
    log:
        f"{LOGS}/causes/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/causes/{{model}}/{{dataset}}.tsv"
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_CAUSES,
    params:
        code=digest_code("cause_measurements"),
        model="{model}",
        dataset="{dataset}",
        causes=STUDY.causes.model_dump(),
        seed=STUDY.seed,
        precision=STUDY.precision,
        pieces=lambda wildcards: f"{SHARED}/unfinished/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/cause_measurements.py"
