# Cells of every prompt, layer and magnitude, for every kind of memory and encoding.
CELLS_OF_SHARD = (
    f"{RESULTS}/cells/{{model}}/{{dataset}}/{{shard}}-of-{{shards}}.parquet"
)


# Each shard computes some of the layers.
rule inject:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        processed=rules.processed_weights.output.processed,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        words=rules.words.output.words if STUDY.list_random_memories() else [],
    output:
        cells=CELLS_OF_SHARD,
        seal=seal(CELLS_OF_SHARD),
    log:
        f"{LOGS}/cells/{{model}}/{{dataset}}/{{shard}}-of-{{shards}}.log",
    cache: True
    priority: 3
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores()
    resources:
        **FOR_CELLS,
    params:
        code=digest_code("inject"),
        inputs=hash_inputs("manifest", "processed", "pairs", "activations", "words"),
        engine=digest_modules(
            "injection.cell_computer",
            "injection.memory_vectors",
            "injection.skipping_engine",
            "models.loading",
        ),
        model="{model}",
        dataset="{dataset}",
        grids=[grid.model_dump() for grid in STUDY.injection],
        answer_positions=STUDY.find_answer_positions(),
        seed=STUDY.seed if STUDY.list_random_memories() else None,
        precision=STUDY.precision,
        shard=lambda wildcards: [int(wildcards.shard), int(wildcards.shards)],
        store=lambda wildcards: f"results/shared/cells/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/inject.py"


rule gather:
    input:
        list_shards,
    output:
        f"{CELLS}/{{model}}/{{dataset}}/{{memories}}.{{coding}}.parquet",
    log:
        f"{LOGS}/injections/{{model}}/{{dataset}}/{{memories}}.{{coding}}.log",
    benchmark:
        f"{BENCHMARKS}/injections/{{model}}/{{dataset}}/{{memories}}.{{coding}}.tsv"
    priority: 3  # the longest jobs wait for it
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("gather"),
    script:
        "../scripts/gather.py"
