# The authors' published results, as tables of cells like ours (in PUBLISHED_CELLS).


include: "inventory.smk"


# Folder of a local copy of the results; None if they are fetched.
LOCAL_ROOT = STUDY.published.local_root

if LOCAL_ROOT is None:

    rule published_download:
        output:
            directory(f"results/shared/published/{STUDY.published.commit}"),
        log:
            f"logs/shared/published/{STUDY.published.commit}.log",
        benchmark:
            f"benchmarks/shared/published/{STUDY.published.commit}.tsv"
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_source("published_download", STUDY.published),
            source=STUDY.published.model_dump(),
        script:
            "../scripts/published_download.py"


checkpoint published:
    input:
        (
            rules.published_download.output
            if LOCAL_ROOT is None
            else list_result_files(LOCAL_ROOT / "experiments")
        ),
    output:
        f"{RESULTS}/published.json",
    log:
        f"{LOGS}/published.log",
    benchmark:
        f"{BENCHMARKS}/published.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("published"),
        root=lambda wildcards, input: str(LOCAL_ROOT or input[0]),
    script:
        "../scripts/published.py"


rule published_cells:
    input:
        list_files_of_sweep,
    output:
        f"{PUBLISHED_CELLS}/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    log:
        f"{LOGS}/published/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/published/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("published_cells"),
    script:
        "../scripts/published_cells.py"
