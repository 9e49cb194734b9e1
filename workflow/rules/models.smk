# A model from any source as a folder in Hugging Face format, and its processed weights, which read its residual stream.


# Checks access to models on the hub, so that a refusal comes before anything else runs. With --keep-going, only the
# model in question fails.
rule access:
    output:
        temp(ACCESS),
    log:
        "logs/shared/models/{model}/access.log",
    benchmark:
        "benchmarks/shared/models/{model}/access.tsv"
    priority: 100
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    # All cores, so that no other job starts at the same time.
    threads: workflow.resource_settings.cores or 1
    params:
        code=digest_code("access"),
        repository=lambda wildcards: STUDY.models[wildcards.model].repository,
    script:
        "../scripts/access.py"


rule model:
    input:
        lambda wildcards: list_local(STUDY.models[wildcards.model]),
        access=require_access,
    output:
        checkpoint=directory("results/shared/models/{model}/checkpoint"),
        manifest=MANIFEST,
        seal=seal(MANIFEST),
    log:
        "logs/shared/models/{model}/model.log",
    wildcard_constraints:
        model=match_names(
            name for name, source in STUDY.models.items() if not source.is_pinned
        ),
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=lambda wildcards: digest_code(
            "model", *map(name_class, STUDY.models[wildcards.model].classes)
        ),
        source=lambda wildcards: STUDY.models[wildcards.model].model_dump(),
        contents=lambda wildcards: hash_source(STUDY.models[wildcards.model]),
    script:
        "../scripts/model.py"


# Other models stay out of Snakemake's cache, which would return an old state of a branch. It also makes what it keeps
# writable for everybody: of a local model, that would be the user's own files, to which its folder links.
use rule model as pinned_model with:
    wildcard_constraints:
        model=match_names(
            name for name, source in STUDY.models.items() if source.is_pinned
        ),
    cache: True


# Also checks, once per model, that its forms agree; what is computed with the model waits for it.
rule processed_weights:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
    output:
        processed="results/shared/models/{model}/processed_weights.safetensors",
        check="results/shared/models/{model}/check.json",
        seal=seal("results/shared/models/{model}/processed_weights.safetensors"),
        seal_of_check=seal("results/shared/models/{model}/check.json"),
    log:
        "logs/shared/models/{model}/processed_weights.log",
    cache: True
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)  # the text check is beside it
    resources:
        **FOR_PROCESSED_WEIGHTS,
    params:
        code=digest_code("processed_weights"),
        inputs=hash_inputs("manifest"),
    script:
        "../scripts/processed_weights.py"
