# A notebook that shows the paper's idea step by step, on the first model and data set of the config.
FIRST_MODEL, FIRST_DATASET = next(iter(STUDY.models)), next(iter(STUDY.datasets))


rule walkthrough:
    input:
        notebook=locate_source("notebooks/walkthrough.ipynb"),
        checkpoint=ancient(f"results/shared/models/{FIRST_MODEL}/checkpoint"),
        manifest=MANIFEST.format(model=FIRST_MODEL),
        pairs=locate_pairs(FIRST_DATASET),
        heads=HEADS["targets"].format(model=FIRST_MODEL, dataset=FIRST_DATASET),
        cells=locate_cells(
            SweepId(FIRST_MODEL, FIRST_DATASET, *STUDY.list_papers_kinds()[0])
        ),
    output:
        page=f"{RESULTS}/walkthrough.html",
        notebook=f"{RESULTS}/walkthrough.ipynb",
    log:
        f"{LOGS}/walkthrough.log",
    benchmark:
        f"{BENCHMARKS}/walkthrough.tsv"
    priority: 1  # it takes longer than all other pages and figures together
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_ACTIVATIONS,
    params:
        code=digest_code("walkthrough", "notebooks/walkthrough.ipynb"),
    script:
        "../scripts/walkthrough.py"
