# Every attention head read in vocabulary space.


rule attribution:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        lens=rules.lens.output.lens,
        pairs=rules.pairs.output[0],
        activations=f"results/shared/activations/{{model}}/{{dataset}}.{BOS}.safetensors",
    output:
        **HEADS,
    log:
        f"{LOGS}/attribution/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/attribution/{{model}}/{{dataset}}.tsv"
    priority: 2  # the walk-through waits for it
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_ATTRIBUTION,
    params:
        code=digest_code("attribution"),
        top_k=STUDY.attribution.top_k,
    script:
        "../scripts/attribution.py"


# Examples of the tokens that heads promote. The authors published none, so only a study with models has this table.
rule table2:
    input:
        top=expand(HEADS["top"], model=STUDY.models, dataset=STUDY.datasets),
        targets=expand(HEADS["targets"], model=STUDY.models, dataset=STUDY.datasets),
        pairs=list_pairs,
    output:
        report(
            f"{RESULTS}/tables/table2.csv",
            category="Tables",
            labels={"table": "2: what heads say"},
            caption="../report/table2.rst",
        ),
        report(
            f"{RESULTS}/tables/telling_heads.csv",
            category="Tables",
            labels={"table": "prompts with a telling head"},
            caption="../report/telling_heads.rst",
        ),
    log:
        f"{LOGS}/tables/table2.log",
    benchmark:
        f"{BENCHMARKS}/tables/table2.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("table2"),
    script:
        "../scripts/table2.py"
