# What injections do inside a model, and to prompts and texts that they are not meant for.
MEASURED = {
    part: f"{RESULTS}/causes/{{model}}/{{dataset}}/{part}.parquet"
    for part in ("patching", "direct_effects", "logit_lens", "side_effects", "texts")
}


rule cause_measurements:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        lens=rules.lens.output.lens,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        curated=list_curated(STUDY.causes),
        text=locate_source("../resources/neutral_text.txt"),
    output:
        **MEASURED,
    log:
        f"{LOGS}/causes/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/causes/{{model}}/{{dataset}}.tsv"
    priority: 1
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_CAUSES,
    params:
        code=digest_code("cause_measurements"),
        model="{model}",
        dataset="{dataset}",
        causes=STUDY.causes.model_dump(),
        seed=STUDY.seed,
        precision=STUDY.precision,
        pieces=lambda wildcards: f"{SHARED}/unfinished/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/cause_measurements.py"


rule causes:
    input:
        **{
            part: expand(path, model=STUDY.models, dataset=STUDY.datasets)
            for part, path in MEASURED.items()
        },
        heads=expand(HEADS["targets"], model=STUDY.models, dataset=STUDY.datasets),
        pairs=list_pairs,
    output:
        report(
            f"{RESULTS}/tables/patching.csv",
            category="Tables",
            labels={"table": "patched heads"},
            caption="../report/patching.rst",
        ),
        report(
            f"{RESULTS}/tables/patching_agreement.csv",
            category="Tables",
            labels={"table": "patched heads against attribution"},
            caption="../report/patching_agreement.rst",
        ),
        report(
            f"{RESULTS}/tables/direct_effects.csv",
            category="Tables",
            labels={"table": "direct and indirect effects"},
            caption="../report/direct_effects.rst",
        ),
        report(
            f"{RESULTS}/tables/logit_lens.csv",
            category="Tables",
            labels={"table": "logit lens after the injection"},
            caption="../report/logit_lens.rst",
        ),
        report(
            f"{RESULTS}/tables/side_effects.csv",
            category="Tables",
            labels={"table": "side effects"},
            caption="../report/side_effects.rst",
        ),
    log:
        f"{LOGS}/tables/causes.log",
    benchmark:
        f"{BENCHMARKS}/tables/causes.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("causes"),
        seed=STUDY.seed,
    script:
        "../scripts/causes.py"
