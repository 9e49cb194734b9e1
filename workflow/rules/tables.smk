# The paper's tables, one file each for the whole study, and how far their numbers can be trusted.


rule table1:
    input:
        (
            every_sweep(f"{INJECTIONS}/{{model}}/{{dataset}}/{{sweep}}.parquet")
            if STUDY.is_reanalysis
            else every_dataset(
                "results/shared/activations/{model}/{dataset}.bos.safetensors"
            )
        ),
    output:
        report(
            f"{RESULTS}/tables/table1.csv",
            category="Tables",
            labels={"table": "1: data sets"},
            caption="../report/table1.rst",
        ),
    log:
        f"{LOGS}/tables/table1.log",
    benchmark:
        f"{BENCHMARKS}/tables/table1.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("table1"),
        of=names_in_paths,
    script:
        "../scripts/table1.py"


if not STUDY.is_reanalysis:

    rule table2:
        input:
            top=every_dataset(rules.attribution.output.top),
            targets=every_dataset(rules.attribution.output.targets),
            pairs=expand(rules.pairs.output[0], dataset=STUDY.datasets),
        output:
            report(
                f"{RESULTS}/tables/table2.csv",
                category="Tables",
                labels={"table": "2: what heads say"},
                caption="../report/table2.rst",
            ),
        log:
            f"{LOGS}/tables/table2.log",
        benchmark:
            f"{BENCHMARKS}/tables/table2.tsv"
        localrule: True
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=code_of("table2"),
            of=every_dataset("{model}/{dataset}"),
        script:
            "../scripts/table2.py"


rule table3:
    input:
        every_sweep(f"{INJECTIONS}/{{model}}/{{dataset}}/{{sweep}}.parquet"),
    output:
        report(
            f"{RESULTS}/tables/table3.csv",
            category="Tables",
            labels={"table": "3: best sites"},
            caption="../report/table3.rst",
        ),
    log:
        f"{LOGS}/tables/table3.log",
    benchmark:
        f"{BENCHMARKS}/tables/table3.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("table3"),
        of=names_in_paths,
    script:
        "../scripts/table3.py"


rule evidence:
    input:
        every_sweep(f"{INJECTIONS}/{{model}}/{{dataset}}/{{sweep}}.parquet"),
    output:
        robustness=report(
            f"{RESULTS}/tables/robustness.csv",
            category="Tables",
            labels={"table": "best sites on other prompts"},
            caption="../report/robustness.rst",
        ),
        curated_against_random=report(
            f"{RESULTS}/tables/curated_against_random.csv",
            category="Tables",
            labels={"table": "curated against random, tested"},
            caption="../report/curated_against_random.rst",
        ),
    log:
        f"{LOGS}/tables/evidence.log",
    benchmark:
        f"{BENCHMARKS}/tables/evidence.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("evidence"),
        of=names_in_paths,
        paper=PAPER,
        seed=STUDY.seed,
    script:
        "../scripts/evidence.py"


rule scorecard:
    input:
        ours=(
            []
            if STUDY.is_reanalysis
            else every_sweep(f"{INJECTIONS}/{{model}}/{{dataset}}/{{sweep}}.parquet")
        ),
        authors=every_published_sweep,
    output:
        scorecard=report(
            f"{RESULTS}/tables/scorecard.csv",
            category="Tables",
            labels={"table": "scorecard"},
            caption="../report/scorecard.rst",
        ),
        claims=report(
            f"{RESULTS}/tables/claims.csv",
            category="Tables",
            labels={"table": "claims of the paper"},
            caption="../report/claims.rst",
        ),
    log:
        f"{LOGS}/tables/scorecard.log",
    benchmark:
        f"{BENCHMARKS}/tables/scorecard.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=code_of("scorecard"),
        ours=lambda wildcards, input: names_in_paths(wildcards, input.ours),
        authors=lambda wildcards, input: names_in_paths(wildcards, input.authors),
        paper=PAPER,
    script:
        "../scripts/scorecard.py"
