# Every (prompt, layer, magnitude) of one kind of memory in one encoding.


def grid(wildcards):
    return STUDY.grid(wildcards.memories, wildcards.encoding).model_dump(include={"layers", "magnitudes"})


def word_list(wildcards):
    return [] if wildcards.memories == CURATED else rules.words.output


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
    threads: half_the_cores()
    priority: 1
    params:
        grid=grid,
        seed=lambda wildcards: None if wildcards.memories == CURATED else STUDY.seed,
    script:
        "../scripts/injections.py"
