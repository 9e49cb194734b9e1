# One self-contained page that tells the study in order.


rule report:
    input:
        tables=[
            rules.table1.output[0],
            rules.table3.output[0],
            *rules.evidence.output,
            *rules.scorecard.output,
        ],
        table2=[] if STUDY.is_reanalysis else [rules.table2.output[0]],
        manifests=(
            []
            if STUDY.is_reanalysis
            else expand(rules.model.output.manifest, model=STUDY.models)
        ),
        pairs=(
            []
            if STUDY.is_reanalysis
            else expand(rules.pairs.output[0], dataset=STUDY.datasets)
        ),
        attribution=every_dataset(
            f"{FIGURE}/attribution.{{model}}.{{dataset}}.{{target}}.png",
            target=["answer", "memory"],
        ),
        change=every_sweep(f"{FIGURE}/change.{{model}}.{{dataset}}.{{sweep}}.png"),
        distribution=every_sweep(
            f"{FIGURE}/distribution.{{model}}.{{dataset}}.{{sweep}}.png"
        ),
        comparison=every_comparison(
            f"{FIGURE}/comparison.{{model}}.{{dataset}}.{{encoding}}.png"
        ),
        template=workflow.source_path("../report/report.html.j2"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("report"),
        config=STUDY.model_dump(mode="json"),
    script:
        "../scripts/report.py"


# Every site of every sweep, down to single prompts, on one page.
rule explorer:
    input:
        cells=every_sweep(f"{INJECTIONS}/{{model}}/{{dataset}}/{{sweep}}.parquet"),
        pairs=(
            []
            if STUDY.is_reanalysis
            else expand(rules.pairs.output[0], dataset=STUDY.datasets)
        ),
        top=[] if STUDY.is_reanalysis else every_dataset(rules.attribution.output.top),
        targets=(
            []
            if STUDY.is_reanalysis
            else every_dataset(rules.attribution.output.targets)
        ),
        template=workflow.source_path("../report/explorer.html.j2"),
        style=workflow.source_path("../report/explorer.css"),
        scripts=[
            workflow.source_path("../report/explorer.data.js"),
            workflow.source_path("../report/explorer.map.js"),
            workflow.source_path("../report/explorer.prompts.js"),
            workflow.source_path("../report/explorer.js"),
        ],
    output:
        f"{RESULTS}/explorer.html",
    log:
        f"{LOGS}/explorer.log",
    benchmark:
        f"{BENCHMARKS}/explorer.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("explorer"),
        study=STUDY.study,
        paper=PAPER,
        of=lambda wildcards, input: names_in_paths(wildcards, input.cells),
    script:
        "../scripts/explorer.py"
