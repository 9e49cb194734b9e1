# Controls of the injections: other vectors, other positions, other doses, at the sites that the evidence chooses.


rule control_cells:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        processed=rules.processed_weights.output.processed,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        words=rules.words.output.words if STUDY.list_random_memories() else [],
        curated=list_curated(),
        population=[POPULATION] if STUDY.has_population else [],
    output:
        **CONTROLLED,
    log:
        f"{LOGS}/controls/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/controls/{{model}}/{{dataset}}.tsv"
    priority: 2  # the longest of the jobs that are ready at the same time
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_CONTROLS,
    params:
        code=digest_code("control_cells"),
        engine=digest_modules(
            "injection.cell_computer",
            "injection.skipping_engine",
            "models.loading",
            "controls.vector_specs",
        ),
        model="{model}",
        dataset="{dataset}",
        controls=STUDY.controls.model_dump(),
        answers=STUDY.answers.model_dump(),
        outcome=STUDY.swept_outcome,
        word_kinds=STUDY.list_random_memories(),
        paper={name: PAPER[name] for name in ("models", "datasets", "sites")},
        seed=STUDY.seed,
        precision=STUDY.precision,
        store=lambda wildcards: f"results/shared/cells/{wildcards.model}/{wildcards.dataset}",
        unfinished=lambda wildcards: f"{SHARED}/unfinished/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/control_cells.py"
