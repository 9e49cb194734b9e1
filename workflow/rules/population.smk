# Which prompts of a data set count for the verdicts on a model, where not all of them do.


rule population:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        processed=rules.processed_weights.output.processed,
        # Nothing is read that the model reads as something else.
        text_check=ancient(TEXT_CHECK),
        pairs=rules.pairs.output[0],
    output:
        POPULATION,
    log:
        f"{LOGS}/population/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/population/{{model}}/{{dataset}}.tsv"
    priority: 3  # evidence and controls wait for it
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores()
    resources:
        **FOR_ACTIVATIONS,
    params:
        code=digest_code("population"),
        model="{model}",
        dataset="{dataset}",
        population=STUDY.population,
        leave_out=list(STUDY.leave_out),
        known_rank=STUDY.known_rank,
        precision=STUDY.precision,
    script:
        "../scripts/population.py"
