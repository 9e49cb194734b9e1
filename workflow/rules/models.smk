# A model, from any source, as a folder in Hugging Face format, and the weights that read its residual stream.


rule model:
    input:
        local_model,
    output:
        checkpoint=directory("results/shared/models/{model}/checkpoint"),
        manifest="results/shared/models/{model}/manifest.json",
    log:
        "logs/shared/models/{model}/model.log",
    benchmark:
        "benchmarks/shared/models/{model}/model.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        source=lambda wildcards: STUDY.models[wildcards.model].model_dump(),
    script:
        "../scripts/model.py"


rule lens:
    input:
        checkpoint=rules.model.output.checkpoint,
    output:
        "results/shared/models/{model}/lens.safetensors",
    log:
        "logs/shared/models/{model}/lens.log",
    benchmark:
        "benchmarks/shared/models/{model}/lens.tsv"
    conda:
        "../envs/memory-injections.yaml"
    threads: cores_of_a_model()
    script:
        "../scripts/lens.py"
