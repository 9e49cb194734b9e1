# Every (prompt, layer, magnitude) of one kind of memory in one encoding.


rule injections:
    input:
        checkpoint=rules.model.output.checkpoint,
        manifest=rules.model.output.manifest,
        lens=rules.lens.output[0],
        pairs=rules.pairs.output[0],
        activations="results/shared/activations/{model}/{dataset}.bos.safetensors",
        words=word_list,
    output:
        f"{RESULTS}/injections/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    log:
        f"{LOGS}/injections/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/injections/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.tsv"
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    threads: half_the_cores()
    params:
        grid=grid,
        seed=lambda wildcards: None if wildcards.memories == CURATED else STUDY.seed,
    script:
        "../scripts/injections.py"
