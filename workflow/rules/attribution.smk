# Every attention head read in vocabulary space.


rule attribution:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        processed=rules.processed_weights.output.processed,
        pairs=rules.pairs.output[0],
        activations=f"results/shared/activations/{{model}}/{{dataset}}.{BOS}.safetensors",
    output:
        **HEADS,
    log:
        f"{LOGS}/attribution/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/attribution/{{model}}/{{dataset}}.tsv"
    priority: 2  # the walk-through waits for it
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_ATTRIBUTION,
    params:
        code=digest_code("attribution"),
        top_k=STUDY.attribution.top_k,
    script:
        "../scripts/attribution.py"
