# The paper's tables, one file each for the whole study, and tables that test how reliable their numbers are.


rule table1:
    input:
        list_scored_prompts,
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
        code=digest_code("table1"),
        source=SOURCE,
    script:
        "../scripts/table1.py"


rule table3:
    input:
        list_cells,
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
        code=digest_code("table3"),
    script:
        "../scripts/table3.py"


rule evidence:
    input:
        list_cells,
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
        code=digest_code("evidence"),
        paper=PAPER,
        seed=STUDY.seed,
    script:
        "../scripts/evidence.py"


rule scorecard:
    input:
        ours=list_own_sweeps,
        authors=list_published_sweeps,
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
        code=digest_code("scorecard"),
        paper=PAPER,
    script:
        "../scripts/scorecard.py"
