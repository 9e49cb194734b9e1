# What the jobs that hold a model ask a scheduler for, from the model's size; a further attempt asks for more.
# Known once the model is there: before, `snakemake -n` shows <TBD>.
from memory_injections.planning import requests as demands


def setting(name):
    """A number among the profile's default resources, or None."""
    defaults = workflow.resource_settings.default_resources or {}
    return (
        getattr(defaults[name], "value", defaults[name]) if name in defaults else None
    )


# Memory of one GPU of the cluster; without a word of it, a job takes one GPU or finds on its host what it needs.
GPU_MB = setting("gpu_mb")


def n_prompts(pairs):
    with open(pairs, encoding="utf-8") as file:
        return sum(1 for _ in file)


def n_cells(manifest, pairs):
    """Cells of one job."""
    grids = (STUDY.grid(memories, encoding) for memories, encoding in SWEEPS)
    per_prompt = sum(
        len(grid.layer_list(manifest["n_layers"])) * len(grid.magnitudes)
        for grid in grids
    )
    return n_prompts(pairs) * per_prompt


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def asked(demand):
    """The resources of a rule: `demand` gives them from its manifest, wildcards and input."""

    def of(name, grows=True):
        return lambda wildcards, input, attempt: (attempt if grows else 1) * getattr(
            demand(read_json(input.manifest), wildcards, input), name
        )

    gpu = 1 if GPU_MB is None else of("gpu", grows=False)
    return {"mem_mb": of("mem_mb"), "runtime": of("runtime"), "gpu": gpu}


FOR_LENS = asked(lambda manifest, *_: demands.of_lens(manifest)) | {"gpu": 0}
FOR_ACTIVATIONS = asked(
    lambda manifest, wildcards, input: demands.of_activations(
        manifest, n_prompts(input.pairs), GPU_MB or 0
    )
)
FOR_ATTRIBUTION = asked(
    lambda manifest, wildcards, input: demands.of_attribution(
        manifest, n_prompts(input.pairs), GPU_MB or 0
    )
)
FOR_CELLS = asked(
    lambda manifest, wildcards, input: demands.of_cells(
        manifest,
        n_cells(manifest, input.pairs) // int(wildcards.shards) + 1,
        STUDY.precision,
        GPU_MB or 0,
    )
)
