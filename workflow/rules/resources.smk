# Resource requests of the jobs that hold a model, computed by memory_injections.planning.requests; retries ask for more.
# They are known only once the model and the prompts are there; until then, `snakemake -n` shows <TBD>.
from os.path import getmtime

from memory_injections.errors import DamagedFileError
from memory_injections.models.checkpoints import read_manifest
from memory_injections.models.sizes import ModelSize
from memory_injections.planning.requests import Requests
from memory_injections.planning.sizes import measure_pairs

# Memory of one GPU of the cluster, if the profile sets it.
GPU_MB = (workflow.resource_settings.default_resources or {}).get("gpu_mb")
GPU_MB = getattr(GPU_MB, "value", GPU_MB)
REQUESTS = Requests(STUDY, GPU_MB or 0)


def read_size(input):
    """The size of a job's model."""
    try:
        return ModelSize.from_manifest(read_manifest(input.manifest))
    except (KeyError, DamagedFileError):
        # A manifest without sizes is outdated, and like a damaged one it will be made again: treat it as missing.
        raise FileNotFoundError(ENOENT, "no size in it", input.manifest) from None


def read_sizes(input):
    """The sizes of a job's model and data set."""
    return read_size(input), measure_file(input.pairs, getmtime(input.pairs))


@cache
def measure_file(pairs, _):
    return measure_pairs(Path(pairs))


def ask_for(request):
    """The resources of a rule, which `request` computes from its input and wildcards."""

    def ask(name):
        return lambda wildcards, input: getattr(request(input, wildcards), name)

    def ask_again(name):
        return lambda wildcards, input, attempt: attempt * ask(name)(wildcards, input)

    # If the profile does not set gpu_mb, request one GPU; the job itself finds out on its host how many it needs.
    gpu = 1 if GPU_MB is None else ask("gpu")
    return {"mem_mb": ask_again("mem_mb"), "runtime": ask_again("runtime"), "gpu": gpu}


FOR_PROCESSED_WEIGHTS = ask_for(
    lambda input, _: REQUESTS.for_processed_weights(read_size(input))
) | {"gpu": 0}
FOR_ACTIVATIONS = ask_for(lambda input, _: REQUESTS.for_activations(*read_sizes(input)))
FOR_ATTRIBUTION = ask_for(lambda input, _: REQUESTS.for_attribution(*read_sizes(input)))
FOR_CONTROLS = ask_for(lambda input, _: REQUESTS.for_controls(*read_sizes(input)))
FOR_MECHANISMS = ask_for(lambda input, _: REQUESTS.for_mechanisms(*read_sizes(input)))
FOR_CELLS = ask_for(
    lambda input, wildcards: REQUESTS.for_cells(
        *read_sizes(input), int(wildcards.shard), int(wildcards.shards)
    )
)
