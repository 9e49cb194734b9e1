# The authors' published results, in the same cell tables as ours.

if STUDY.published.source == "git":

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
            code=code_of("published_download"),
            source=STUDY.published.model_dump(),
        script:
            "../scripts/published_download.py"


checkpoint published:
    input:
        (
            rules.published_download.output
            if STUDY.published.source == "git"
            else result_files(f"{STUDY.published.path}/experiments")
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
        code=code_of("published"),
        root=lambda wildcards, input: (
            input[0] if STUDY.published.source == "git" else STUDY.published.path
        ),
    script:
        "../scripts/published.py"


rule published_cells:
    input:
        lambda wildcards: result_files(published_sweep(wildcards)["folder"]),
    output:
        f"{PUBLISHED}/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.parquet",
    log:
        f"{LOGS}/published/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.log",
    benchmark:
        f"{BENCHMARKS}/published/{{model}}/{{dataset}}/{{memories}}.{{encoding}}.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("published_cells"),
        sweep=lambda wildcards, input: {
            **dict(wildcards.items()),
            "folder": str(Path(input[0]).parent),
        },
    script:
        "../scripts/published_cells.py"
