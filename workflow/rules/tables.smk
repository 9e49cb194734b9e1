# The paper's tables, one file each for the whole study, and the evidence.


# Which numbers of the paper this study is compared with: those for its own models and data sets.
rule paper:
    input:
        manifests=MANIFESTS,
        pairs=list_pairs,
    output:
        f"{RESULTS}/paper.json",
    log:
        f"{LOGS}/paper.log",
    benchmark:
        f"{BENCHMARKS}/paper.tsv"
    priority: 1  # the evidence waits for it
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("paper"),
        source=SOURCE,
        models=list(STUDY.models),
        paper=PAPER,
    script:
        "../scripts/paper.py"


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
        cells=list_cells,
        pairs=list_pairs,
        paper=rules.paper.output[0],
    output:
        report(
            f"{RESULTS}/tables/evidence.csv",
            category="Tables",
            labels={"table": "evidence"},
            caption="../report/evidence.rst",
        ),
        report(
            f"{RESULTS}/tables/contrasts.csv",
            category="Tables",
            labels={"table": "curated against random, tested"},
            caption="../report/contrasts.rst",
        ),
        report(
            f"{RESULTS}/tables/last_hops.csv",
            category="Tables",
            labels={"table": "effects by last hop"},
            caption="../report/last_hops.rst",
        ),
        report(
            f"{RESULTS}/tables/sites.csv",
            category="Tables",
            labels={"table": "every site"},
            caption="../report/sites.rst",
        ),
        f"{RESULTS}/tables/explicit_prompts.csv",
    log:
        f"{LOGS}/tables/evidence.log",
    benchmark:
        f"{BENCHMARKS}/tables/evidence.tsv"
    # The longest of the tables, and claims and pages wait for it.
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("evidence"),
        seed=STUDY.seed,
    script:
        "../scripts/evidence.py"


rule claims:
    input:
        tables=[*rules.evidence.output, *list_control_tables("control_contrasts")],
        coverage=COVERAGE,
        paper=rules.paper.output[0],
    output:
        report(
            f"{RESULTS}/tables/claims.csv",
            category="Tables",
            labels={"table": "claims of the paper"},
            caption="../report/claims.rst",
        ),
    log:
        f"{LOGS}/tables/claims.log",
    benchmark:
        f"{BENCHMARKS}/tables/claims.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("claims"),
    script:
        "../scripts/claims.py"


rule scorecard:
    input:
        ours=list_own_sweeps,
        authors=list_published_sweeps,
        paper=rules.paper.output[0],
    output:
        report(
            f"{RESULTS}/tables/scorecard.csv",
            category="Tables",
            labels={"table": "scorecard"},
            caption="../report/scorecard.rst",
        ),
    log:
        f"{LOGS}/tables/scorecard.log",
    benchmark:
        f"{BENCHMARKS}/tables/scorecard.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("scorecard"),
    script:
        "../scripts/scorecard.py"
