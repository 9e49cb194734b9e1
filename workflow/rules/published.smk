# The authors' published results, as tables of cells like ours (in PUBLISHED_CELLS), and what their files cover.


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
            code=digest_code("published_download", name_class(type(STUDY.published))),
            source=STUDY.published.model_dump(),
        script:
            "../scripts/published_download.py"


checkpoint published:
    input:
        (
            rules.published_download.output
            if LOCAL_ROOT is None
            else list_local(STUDY.published)
        ),
    output:
        inventory=f"{RESULTS}/published.json",
        checksums=f"{RESULTS}/published_checksums.json",
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
        contents=lambda wildcards: hash_source(STUDY.published),
    script:
        "../scripts/published.py"


rule published_cells:
    input:
        list_files_of_sweep,
    output:
        f"{PUBLISHED_CELLS}/{{model}}/{{dataset}}/{{memories}}.{{coding}}.parquet",
    log:
        f"{LOGS}/published/{{model}}/{{dataset}}/{{memories}}.{{coding}}.log",
    benchmark:
        f"{BENCHMARKS}/published/{{model}}/{{dataset}}/{{memories}}.{{coding}}.tsv"
    # Any names of the authors: a study need not have their models and data sets.
    wildcard_constraints:
        model="[^/]+",
        dataset="[^/.]+",
        memories="[^/.]+",
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("published_cells"),
        checksums=lambda wildcards, input: list_checksums(input),
    script:
        "../scripts/published_cells.py"


# The prompts of a re-analysis.
rule published_pairs:
    input:
        list_file_of_pairs,
    output:
        f"{RESULTS}/published/pairs/{{dataset}}.csv",
    log:
        f"{LOGS}/published/pairs/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/published/pairs/{{dataset}}.tsv"
    # The evidence, the longest of the tables, waits for it.
    priority: 1
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("published_pairs"),
        checksums=lambda wildcards, input: list_checksums(input),
    script:
        "../scripts/published_pairs.py"


rule coverage:
    input:
        list_surveyed_files,
        inventory=rules.published.output.inventory,
    output:
        report(
            f"{RESULTS}/tables/coverage.csv",
            category="Tables",
            labels={"table": "what the authors' files cover"},
            caption="../report/coverage.rst",
        ),
    log:
        f"{LOGS}/tables/coverage.log",
    benchmark:
        f"{BENCHMARKS}/tables/coverage.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("coverage"),
        checksums=lambda wildcards: list_checksums(list_surveyed_files(wildcards)),
        grid=PAPER["magnitudes"],
    script:
        "../scripts/coverage.py"


rule word_files:
    input:
        files=list_word_files,
        cells=list_cells_of_words,
    output:
        report(
            f"{RESULTS}/tables/word_files.csv",
            category="Tables",
            labels={"table": "the authors' random words at one site"},
            caption="../report/word_files.rst",
        ),
    log:
        f"{LOGS}/tables/word_files.log",
    benchmark:
        f"{BENCHMARKS}/tables/word_files.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("word_files"),
        checksums=lambda wildcards, input: list_checksums(input.files),
    script:
        "../scripts/word_files.py"


PUBLISHED_TABLES = [*rules.coverage.output, *rules.word_files.output]
