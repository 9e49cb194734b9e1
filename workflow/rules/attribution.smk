# Every attention head read in vocabulary space.


rule attribution:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
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
        **FOR_ATTRIBUTION,
    params:
        code=code_of("attribution"),
        top_k=STUDY.attribution.top_k,
    script:
        "../scripts/attribution.py"


rule attribution_figure:
    input:
        rules.attribution.output.targets,
    output:
        png=figure(
            "attribution.{model}.{dataset}.{target}",
            caption="attribution",
            category="Attribution",
            figure="heads",
            token="{target}",
        ),
        pdf=f"{FIGURE}/attribution.{{model}}.{{dataset}}.{{target}}.pdf",
    log:
        f"{LOGS}/figures/attribution.{{model}}.{{dataset}}.{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/attribution.{{model}}.{{dataset}}.{{target}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("attribution_figure"),
    script:
        "../scripts/attribution_figure.py"
