"""What a job that holds a model costs: cells, arithmetic, memory and time on some machine.

`make plan` and what a job asks a scheduler for are both made of these estimates. Left out, because small: downloads,
tables, figures, the report, the walk-through (a minute, with the model once more), and the memories' own passes of the
`layer` encoding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memory_injections.config.study import Study
from memory_injections.mechanisms.settings import COMPARED
from memory_injections.models.limits import (
    ACTIVATION_TOKENS,
    CELL_PADDING,
    CELL_TOKENS,
    HEADS_AT_ONCE,
    PROCESSING_COPIES,
)
from memory_injections.models.sizes import BYTES_PER_WEIGHT, GIB, ModelSize, count_gpus
from memory_injections.planning.machines import Machine, find_machine
from memory_injections.planning.sizes import DataSize
from memory_injections.sweeps.grid import Sweep, take_shard
from memory_injections.terms import CURATED, PROMPT_KINDS, Precision

# Every process of the workflow reads this module: it imports nothing that computes.

# What jobs do besides arithmetic, measured: imports, weights from the disk and their processing, and planning, look-up
# and writing of every cell and of every token of a head.
START_SECONDS = 15
BYTES_PER_SECOND = 5e8
PROCESSED_BYTES_PER_SECOND = 2e8
CELL_SECONDS = 10e-6
HEAD_TOKEN_SECONDS = 1e-6
# Python, its libraries, and the tables under way.
START_BYTES = 2 * GIB
# Tokens that run through a model while its forms are compared.
CHECKED_TOKENS = 1000
# Sites of a prompt at which controls are computed: those that the folds choose for it, and the best one.
CONTROL_SITES = 3
# Texts that are compared with the controls, each in a pass of its own.
CONTROL_TEXTS = 5
# Tokens of the neutral text that side effects are measured on.
NEUTRAL_TOKENS = 450
# How often weight processing holds the weights: measured on a CPU, the file's pages among them.
PROCESSING = {"cpu": 3.5, "cuda": PROCESSING_COPIES}
# Tensors as large as a batch's log-probabilities that live at once while it is scored, or while heads are read.
SCORING, READING = 5, 2


@dataclass(frozen=True)
class Job:
    """What one job needs: `gpu_bytes` on all of its GPUs together, and `host_bytes` of its process."""

    flop: float
    gpus: int
    gpu_bytes: float
    host_bytes: float
    seconds: float
    cells: int = 0


def plan_study(
    study: Study, models: Mapping[str, ModelSize], data: Mapping[str, DataSize], machine: Machine
) -> dict[str, Job]:
    """The jobs of a study that hold a model, by name, in the order of the workflow."""
    jobs = {}
    for name, model in models.items():
        jobs[f"processed_weights {name}"] = estimate_processed_weights(model)
        sweeps, shards = study.expand_grids(model.n_layers), study.count_shards(name)
        for dataset, texts in data.items():
            of = f"{name}/{dataset}"
            jobs[f"activations {of}"] = estimate_activations(model, texts, machine)
            if not study.attribution.bos:
                jobs[f"activations {of}, no BOS"] = jobs[f"activations {of}"]
            jobs[f"attribution {of}"] = estimate_attribution(model, texts, study.attribution.top_k, machine)
            for shard in range(1, shards + 1):
                part = f", {shard} of {shards}" if shards > 1 else ""
                own = take_shard(sweeps, shard, shards)
                jobs[f"cells {of}{part}"] = estimate_cells(model, texts, own, study.precision, machine)
            if study.has_controls:
                jobs[f"controls {of}"] = estimate_controls(study, model, texts, machine)
            if study.has_mechanisms:
                jobs[f"mechanisms {of}"] = estimate_mechanisms(study, model, texts, machine)
    return jobs


def estimate_processed_weights(model: ModelSize) -> Job:
    """What processing a model's weights costs, and checking its forms: on the CPU, whatever the machine."""
    weights = model.weight_bytes()
    return _estimate(
        find_machine("cpu"),
        flop=CHECKED_TOKENS * model.full_pass(1),
        loaded=weights,
        spread=PROCESSING["cpu"] * weights,
        working=0,
        seconds=weights / PROCESSED_BYTES_PER_SECOND,
    )


def estimate_activations(model: ModelSize, texts: DataSize, machine: Machine) -> Job:
    """What recording the activations of a data set's texts costs."""
    weights = model.weight_bytes()
    return _estimate(
        machine,
        flop=texts.n_prompts * sum(model.full_pass(tokens) for tokens in texts.tokens.values()),
        loaded=weights,
        spread=PROCESSING[machine.device] * weights,
        working=4 * 2 * ACTIVATION_TOKENS * model.d_vocab,
        seconds=weights / PROCESSED_BYTES_PER_SECOND,
    )


def estimate_attribution(model: ModelSize, texts: DataSize, top_k: int, machine: Machine) -> Job:
    """What reading every head of a data set's prompts costs, `top_k` tokens of each."""
    heads, readings = model.n_layers * model.n_heads, texts.n_prompts * len(PROMPT_KINDS)
    return _estimate(
        machine,
        flop=readings * model.heads(),
        loaded=model.processed_bytes,
        spread=model.processed_bytes,
        working=4 * READING * max(heads, HEADS_AT_ONCE) * model.d_vocab,
        seconds=HEAD_TOKEN_SECONDS * readings * heads * top_k,
    )


def estimate_cells(
    model: ModelSize, texts: DataSize, sweeps: Sequence[Sweep], precision: Precision, machine: Machine
) -> Job:
    """What all cells of some sweeps cost, over one data set."""
    # Prompts are padded to a multiple of so many positions.
    positions = texts.tokens["obscure"] + (CELL_PADDING[machine.device] - 1) / 2
    injections = sum(len(s.magnitudes) * sum(model.cell(layer, positions) for layer in s.layers) for s in sweeps)
    n_cells = texts.n_prompts * sum(sweep.cells_per_prompt for sweep in sweeps)
    weights = model.weight_bytes(precision)
    return _estimate(
        machine,
        cells=n_cells,
        flop=texts.n_prompts * (model.clean_pass(positions) + injections),
        precision=precision,
        loaded=weights + model.processed_bytes,
        spread=weights,
        working=model.processed_bytes + _measure_batch(model, positions, sweeps, precision, machine),
        seconds=CELL_SECONDS * n_cells,
    )


def estimate_controls(study: Study, model: ModelSize, texts: DataSize, machine: Machine) -> Job:
    """What the controls of a study cost over one data set.

    Their sites are known only once the sweeps are: so many are assumed in each encoding, in the middle of its layers.
    Raises `LayerError` for a layer that the model does not have.
    """
    assert study.controls
    n_cells = study.controls.count_cells(CONTROL_SITES + len(study.controls.sites), texts.n_prompts)
    sweeps = [
        Sweep(sweep.memories, sweep.encoding, [sweep.layers[len(sweep.layers) // 2]], range(n_cells))
        for sweep in study.expand_grids(model.n_layers)
        if sweep.memories == CURATED and (sweep.encoding, sweep.relative) in study.list_curated(study.controls)
    ]
    job = estimate_cells(model, texts, sweeps, study.precision, machine)
    flop = CONTROL_TEXTS * texts.n_prompts * model.clean_pass(texts.tokens["obscure"] + texts.tokens["memory"])
    return replace(job, flop=job.flop + flop, seconds=job.seconds + flop / machine.rate(study.precision))


def estimate_mechanisms(study: Study, model: ModelSize, texts: DataSize, machine: Machine) -> Job:
    """What looking at the injections of a study closely costs over one data set.

    A site in the middle of the layers is assumed in each encoding. Raises `LayerError` for a layer that the model does
    not have.
    """
    assert study.mechanisms
    settings = study.mechanisms
    # The logit lens takes more cells of each prompt: without and with the memory and its controls; it reads the later
    # blocks of all.
    n_read = 2 + len(COMPARED)
    cells = range(settings.count_cells() + n_read)
    sweeps = [
        Sweep(sweep.memories, sweep.encoding, [sweep.layers[len(sweep.layers) // 2]], cells)
        for sweep in study.expand_grids(model.n_layers)
        if sweep.memories == CURATED and (sweep.encoding, sweep.relative) in study.list_curated(settings)
    ]
    job = estimate_cells(model, texts, sweeps, study.precision, machine)
    patches = 2 * model.n_heads * sum(model.cell(layer, 1) for layer in range(model.n_layers))
    blocks = texts.n_prompts * n_read * model.n_layers / 2 * model.unembedding
    text = settings.count_texts() * NEUTRAL_TOKENS * model.full_pass(1) / 2
    flop = min(settings.prompts, texts.n_prompts) * patches + len(sweeps) * (blocks + text)
    return replace(job, flop=job.flop + flop, seconds=job.seconds + flop / machine.rate(study.precision))


def _count_cells_per_layer(sweeps: Sequence[Sweep]) -> float:
    """Cells of a prompt in each layer that is swept, on average."""
    return sum(sweep.cells_per_prompt for sweep in sweeps) / len({layer for sweep in sweeps for layer in sweep.layers})


def _measure_batch(
    model: ModelSize, positions: float, sweeps: Sequence[Sweep], precision: Precision, machine: Machine
) -> float:
    """Working memory of a full batch: scores, a block's activations, and the clean passes that it starts from."""
    tokens, width = CELL_TOKENS[machine.device], BYTES_PER_WEIGHT[precision]
    n_layers = len({layer for sweep in sweeps for layer in sweep.layers})
    scores = 4 * SCORING * tokens / positions * model.d_vocab
    block = width * tokens * (12 * model.d_model + model.mlp / model.d_model)
    clean = width * tokens / _count_cells_per_layer(sweeps) * 2 * n_layers * model.d_model
    return max(scores, block) + clean


def _estimate(
    machine: Machine,
    *,
    loaded: float,
    spread: float,
    working: float,
    seconds: float,
    flop: float = 0,
    precision: Precision = "float32",
    cells: int = 0,
) -> Job:
    """A job's needs from bytes of weights `loaded`, bytes `spread` over GPUs, and bytes `working` beside them.

    `seconds` are those besides arithmetic. The blocks of a model on several GPUs take turns, so that time is as on one.
    """
    gpus = count_gpus(spread, machine.gpu_bytes) if machine.gpu_bytes else 0
    return Job(
        flop=flop,
        gpus=gpus,
        gpu_bytes=min(spread + working, gpus * machine.gpu_bytes),
        host_bytes=START_BYTES + (loaded if gpus else spread + working),
        seconds=seconds + START_SECONDS + loaded / BYTES_PER_SECOND + flop / machine.rate(precision),
        cells=cells,
    )
