# A model, from any source, as a folder in Hugging Face format, and the weights that read its residual stream.


# What the hub refuses, it refuses here: before anything else runs, and for the one model only with --keep-going.
rule access:
    output:
        temp("results/shared/models/{model}/access"),
    log:
        "logs/shared/models/{model}/access.log",
    benchmark:
        "benchmarks/shared/models/{model}/access.tsv"
    priority: 100
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    # All cores, so that nothing starts beside it.
    threads: workflow.resource_settings.cores or 1
    params:
        code=digest_code("access"),
        repository=lambda wildcards: STUDY.models[wildcards.model].repository,
    script:
        "../scripts/access.py"


rule model:
    input:
        lambda wildcards: STUDY.models[wildcards.model].local_files(),
        require_access,
    output:
        checkpoint=directory("results/shared/models/{model}/checkpoint"),
        manifest="results/shared/models/{model}/manifest.json",
    log:
        "logs/shared/models/{model}/model.log",
    cache: True
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=lambda wildcards: digest_source("model", STUDY.models[wildcards.model]),
        source=lambda wildcards: STUDY.models[wildcards.model].model_dump(),
    script:
        "../scripts/model.py"


rule lens:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
    output:
        "results/shared/models/{model}/lens.safetensors",
    log:
        "logs/shared/models/{model}/lens.log",
    cache: True
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores()
    resources:
        **FOR_LENS,
    params:
        code=digest_code("lens"),
    script:
        "../scripts/lens.py"
