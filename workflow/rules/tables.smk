# The paper's tables, one file each for the whole study.


rule table1:
    input:
        every_dataset("results/shared/activations/{model}/{dataset}.bos.safetensors"),
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
    conda:
        "../envs/memory-injections.yaml"
    params:
        of=every_dataset("{model}/{dataset}"),
    script:
        "../scripts/table1.py"


rule table2:
    input:
        top=every_dataset(rules.attribution.output.top),
        targets=every_dataset(rules.attribution.output.targets),
        pairs=every_dataset(rules.pairs.output[0]),
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
    conda:
        "../envs/memory-injections.yaml"
    params:
        of=every_dataset("{model}/{dataset}"),
    script:
        "../scripts/table2.py"


rule table3:
    input:
        every_sweep(f"{RESULTS}/injections/{{model}}/{{dataset}}/{{sweep}}.parquet"),
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
    conda:
        "../envs/memory-injections.yaml"
    params:
        of=every_sweep("{model}/{dataset}/{sweep}"),
    script:
        "../scripts/table3.py"
