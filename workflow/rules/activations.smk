# A model's activations at the last position of every text of a data set.


rule activations:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        # Nothing is computed with a model whose forms disagree; activations do not depend on the engine otherwise.
        check=ancient(rules.processed_weights.output.check),
        # Nor of texts that the model reads as something else.
        text_check=ancient(TEXT_CHECK),
        pairs=rules.pairs.output[0],
    output:
        activations="results/shared/activations/{model}/{dataset}.{bos}.safetensors",
        seal=seal("results/shared/activations/{model}/{dataset}.{bos}.safetensors"),
    log:
        "logs/shared/activations/{model}/{dataset}.{bos}.log",
    cache: True
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores()
    resources:
        **FOR_ACTIVATIONS,
    params:
        code=digest_code("activations"),
        inputs=hash_inputs("manifest", "pairs"),
        model="{model}",
        dataset="{dataset}",
        bos=lambda wildcards: wildcards.bos == "bos",
    script:
        "../scripts/activations.py"
