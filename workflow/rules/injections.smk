# Every (prompt, layer, magnitude) of every kind of memory in every encoding.


rule cells:
    input:
        checkpoint=rules.model.output.checkpoint,
        manifest=rules.model.output.manifest,
        lens=rules.lens.output[0],
        pairs=rules.pairs.output[0],
        activations="results/shared/activations/{model}/{dataset}.bos.safetensors",
        words=rules.words.output if RANDOM_MEMORIES else [],
    output:
        f"{RESULTS}/cells/{{model}}/{{dataset}}.parquet",
    log:
        f"{LOGS}/cells/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/cells/{{model}}/{{dataset}}.tsv"
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    threads: cores_of_a_model()
    resources:
        gpu=1,
    params:
        sweeps=SWEEP_GRIDS,
        seed=STUDY.seed if RANDOM_MEMORIES else None,
        precision=STUDY.precision,
        store=lambda wildcards: f"results/shared/cells/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/cells.py"


rule injections:
    input:
        rules.cells.output,
    output:
        f"{INJECTIONS}/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    log:
        f"{LOGS}/injections/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/injections/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    script:
        "../scripts/injections.py"
