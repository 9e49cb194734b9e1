# Every figure as PNG and PDF; the PNGs appear in Snakemake's own report too.


rule change_figure:
    input:
        f"{INJECTIONS}/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    output:
        png=figure(
            "change.{model}.{dataset}.{memories}.{encoding}",
            caption="change",
            category="Injections",
            figure="change by site",
            memories="{memories}",
            encoding="{encoding}",
        ),
        pdf=f"{FIGURE}/change.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.pdf",
    log:
        f"{LOGS}/figures/change.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/change.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("change_figure"),
    script:
        "../scripts/change_figure.py"


rule distribution_figure:
    input:
        f"{INJECTIONS}/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    output:
        png=figure(
            "distribution.{model}.{dataset}.{memories}.{encoding}",
            caption="distribution",
            category="Injections",
            figure="distribution over prompts",
            memories="{memories}",
            encoding="{encoding}",
        ),
        pdf=f"{FIGURE}/distribution.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.pdf",
    log:
        f"{LOGS}/figures/distribution.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/distribution.{{model}}.{{dataset}}.{{memories}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("distribution_figure"),
    script:
        "../scripts/distribution_figure.py"


rule comparison_figure:
    input:
        curated_and_random,
    output:
        png=figure(
            "comparison.{model}.{dataset}.{encoding}",
            caption="comparison",
            category="Best sites",
            figure="curated against random",
            encoding="{encoding}",
        ),
        pdf=f"{FIGURE}/comparison.{{model}}.{{dataset}}.{{encoding}}.pdf",
    log:
        f"{LOGS}/figures/comparison.{{model}}.{{dataset}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/comparison.{{model}}.{{dataset}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("comparison_figure"),
        kinds=lambda wildcards, input: [Path(path).name.split(".")[0] for path in input],
    script:
        "../scripts/comparison_figure.py"
