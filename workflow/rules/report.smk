# One self-contained page that tells the study in order.

# Encodings in which there are random memories to compare the curated ones with.
COMPARED = [
    encoding
    for memories, encoding in SWEEPS
    if memories == CURATED
    and any(other != CURATED and e == encoding for other, e in SWEEPS)
]


rule report:
    input:
        tables=[rules.table1.output[0], rules.table2.output[0], rules.table3.output[0]],
        manifests=expand(rules.model.output.manifest, model=STUDY.models),
        pairs=expand(rules.pairs.output[0], dataset=STUDY.datasets),
        attribution=every_dataset(
            rules.attribution_figure.output.png, target=["answer", "memory"]
        ),
        change=every_sweep(f"{FIGURE}/change.{{model}}.{{dataset}}.{{sweep}}.png"),
        distribution=every_sweep(
            f"{FIGURE}/distribution.{{model}}.{{dataset}}.{{sweep}}.png"
        ),
        comparison=every_dataset(rules.comparison_figure.output.png, encoding=COMPARED),
        template=workflow.source_path("../report/report.html.j2"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        config=STUDY.model_dump(mode="json"),
    script:
        "../scripts/report.py"
