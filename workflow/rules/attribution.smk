# Every attention head read in vocabulary space.


rule attribution:
    input:
        checkpoint=rules.model.output.checkpoint,
        lens=rules.lens.output[0],
        pairs=rules.pairs.output[0],
        activations=f"results/shared/activations/{{model}}/{{dataset}}.{BOS}.safetensors",
    output:
        top=f"{RESULTS}/attribution/{{model}}/{{dataset}}.parquet",
        targets=f"{RESULTS}/attribution-targets/{{model}}/{{dataset}}.parquet",
    log:
        f"{LOGS}/attribution/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/attribution/{{model}}/{{dataset}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    threads: cores_of_a_model()
    resources:
        gpu=1,
    params:
        top_k=STUDY.attribution.top_k,
    script:
        "../scripts/attribution.py"
