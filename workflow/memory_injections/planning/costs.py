"""What a job that holds a model costs: cells, arithmetic, memory and time on some machine.

`make plan` and what a job asks a scheduler for are both made of these estimates. Left out, because small: downloads,
tables, figures, the report, the walk-through (a minute, with the model once more), and the passes of memories in the
`layer` encoding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memory_injections.config.study import Study
from memory_injections.controls.settings import Controls
from memory_injections.mechanisms.settings import COMPARED, Mechanisms
from memory_injections.models.limits import (
    CELL_PADDING,
    CELL_TOKENS,
    MORE_TOKENS,
    PROCESSING_COPIES,
    READ_AT_ONCE,
    RECORDED_BYTES_AT_ONCE,
    TEXTS_READ_AT_ONCE,
    limit_activation_tokens,
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
CONTROL_TEXTS = 7
# Tokens of the neutral text that side effects are measured on.
NEUTRAL_TOKENS = 450
# How often weight processing holds the weights: measured on a CPU, the file's pages among them.
PROCESSING = {"cpu": 3.5, "cuda": PROCESSING_COPIES}
# Tensors as large as a batch's log-probabilities that live at once while it is scored, or while heads are read.
SCORING, READING = 5, 2


@dataclass(frozen=True)
class Job:
    """What one job needs.

    `gpu_bytes` are on all of its GPUs together, `host_bytes` of its process, and `disk_bytes` of activations.
    """

    flop: float
    gpus: int
    gpu_bytes: float
    host_bytes: float
    seconds: float
    cells: int = 0
    disk_bytes: int = 0


def plan_study(
    study: Study, models: Mapping[str, ModelSize], data: Mapping[str, DataSize], machine: Machine
) -> dict[str, Job]:
    """The jobs of a study that hold a model, by name, in the order of the workflow."""
    jobs, costs = {}, Costs(study, machine)
    for name, model in models.items():
        jobs[f"processed_weights {name}"] = costs.estimate_processed_weights(model)
        shards = study.count_shards(name)
        for dataset, texts in data.items():
            of = f"{name}/{dataset}"
            jobs[f"activations {of}"] = costs.estimate_activations(model, texts)
            if not study.attribution.bos:
                jobs[f"activations {of}, no BOS"] = jobs[f"activations {of}"]
            jobs[f"attribution {of}"] = costs.estimate_attribution(model, texts)
            if study.has_population:
                jobs[f"population {of}"] = costs.estimate_activations(model, texts)
            for shard in range(1, shards + 1):
                which = f", {shard} of {shards}" if shards > 1 else ""
                jobs[f"cells {of}{which}"] = costs.estimate_cells(model, texts, shard, shards)
            if study.has_controls:
                jobs[f"controls {of}"] = costs.estimate_controls(model, texts)
            if study.has_mechanisms:
                jobs[f"mechanisms {of}"] = costs.estimate_mechanisms(model, texts)
    return jobs


class Costs:
    """What the jobs of a study cost on a machine.

    Estimates of injections raise `LayerError` for a layer that the model does not have.
    """

    def __init__(self, study: Study, machine: Machine) -> None:
        self.study, self.machine = study, machine

    def estimate_processed_weights(self, model: ModelSize) -> Job:
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

    def estimate_activations(self, model: ModelSize, texts: DataSize) -> Job:
        """What recording the activations of a data set's texts costs."""
        weights = model.weight_bytes()
        tokens = limit_activation_tokens(self.machine.device, model.n_layers, model.d_model)
        recorded = min(RECORDED_BYTES_AT_ONCE, texts.n_prompts * model.activation_bytes)
        return _estimate(
            self.machine,
            flop=texts.n_prompts * sum(model.full_pass(tokens) for tokens in texts.tokens.values()),
            loaded=weights + recorded,
            spread=PROCESSING[self.machine.device] * weights,
            working=4 * tokens * (2 * model.d_vocab + 4 * model.n_layers * model.d_model) + recorded,
            seconds=weights / PROCESSED_BYTES_PER_SECOND,
            disk_bytes=texts.n_prompts * model.activation_bytes,
        )

    def estimate_attribution(self, model: ModelSize, texts: DataSize) -> Job:
        """What reading every head of a data set's prompts costs."""
        heads, readings = model.n_layers * model.n_heads, texts.n_prompts * len(PROMPT_KINDS)
        whole, rest = divmod(readings, TEXTS_READ_AT_ONCE)
        return _estimate(
            self.machine,
            flop=whole * model.heads(TEXTS_READ_AT_ONCE) + model.heads(rest),
            loaded=model.processed_bytes,
            spread=model.processed_bytes,
            working=4 * READING * READ_AT_ONCE * model.d_vocab,
            seconds=HEAD_TOKEN_SECONDS * readings * heads * self.study.attribution.top_k,
        )

    def estimate_cells(self, model: ModelSize, texts: DataSize, shard: int, shards: int) -> Job:
        """What one of the jobs costs that share out the layers of a model's injections into a data set.

        Raises `TooManyShardsError` if there are fewer layers than jobs.
        """
        return self._estimate_sweeps(model, texts, take_shard(self.study.expand_grids(model.n_layers), shard, shards))

    def estimate_controls(self, model: ModelSize, texts: DataSize) -> Job:
        """What the controls cost over one data set.

        Their sites are known only once the sweeps are: so many are assumed in each encoding.
        """
        assert self.study.controls
        n_cells = self.study.controls.count_cells(CONTROL_SITES + len(self.study.controls.sites), texts.n_prompts)
        sweeps = self._assume_sites(self.study.controls, model, n_cells)
        tokens = texts.tokens["obscure"] + texts.tokens["memory"]
        flop = CONTROL_TEXTS * texts.n_prompts * model.clean_pass(tokens)
        if self.study.answers.write:
            n_written = CONTROL_TEXTS + 1  # after most texts, and under two kinds of memories
            n_tokens = tokens + texts.answer_tokens + MORE_TOKENS
            flop += n_written * texts.n_prompts * n_tokens * model.full_pass(1)
        return self._estimate_sweeps(model, texts, sweeps, flop)

    def estimate_mechanisms(self, model: ModelSize, texts: DataSize) -> Job:
        """What looking at the injections closely costs over one data set; a site is assumed in each encoding."""
        settings = self.study.mechanisms
        assert settings
        # The logit lens takes more cells of each prompt: without and with the memory and its controls; it reads the
        # later blocks of all.
        n_read = 2 + len(COMPARED)
        sweeps = self._assume_sites(settings, model, settings.count_cells() + n_read)
        patches = 2 * model.n_heads * sum(model.cell(layer, 1) for layer in range(model.n_layers))
        blocks = texts.n_prompts * n_read * model.n_layers / 2 * model.unembedding
        text = settings.count_texts() * NEUTRAL_TOKENS * model.full_pass(1) / 2
        flop = min(settings.prompts, texts.n_prompts) * patches + len(sweeps) * (blocks + text)
        return self._estimate_sweeps(model, texts, sweeps, flop)

    def _assume_sites(self, part: Controls | Mechanisms, model: ModelSize, n_cells: int) -> list[Sweep]:
        """Assume so many cells of each prompt in the middle of the layers, in each encoding that a part looks at."""
        return [
            Sweep(
                sweep.memories,
                sweep.encoding,
                [sweep.layers[len(sweep.layers) // 2]],
                range(n_cells),
                scores_whole=isinstance(part, Controls),
            )
            for sweep in self.study.expand_grids(model.n_layers)
            if sweep.memories == CURATED and (sweep.encoding, sweep.relative) in self.study.list_curated(part)
        ]

    def _estimate_sweeps(self, model: ModelSize, texts: DataSize, sweeps: Sequence[Sweep], flop: float = 0) -> Job:
        """What all cells of some sweeps cost over one data set, and `flop` operations besides them."""
        precision = self.study.precision
        # Prompts are padded to a multiple of so many positions.
        positions = texts.tokens["obscure"] + (CELL_PADDING[self.machine.device] - 1) / 2
        injections = sum(self._count_flop(model, texts, positions, sweep) for sweep in sweeps)
        n_cells = texts.n_prompts * sum(sweep.cells_per_prompt for sweep in sweeps)
        weights = model.weight_bytes(precision)
        return _estimate(
            self.machine,
            cells=n_cells,
            flop=texts.n_prompts * (model.clean_pass(positions) + injections) + flop,
            precision=precision,
            loaded=weights + model.processed_bytes,
            spread=weights,
            working=model.processed_bytes + self._measure_batch(model, positions, sweeps),
            seconds=CELL_SECONDS * n_cells,
        )

    def _count_flop(self, model: ModelSize, texts: DataSize, positions: float, sweep: Sweep) -> float:
        """Operations of all cells of a prompt in a sweep; where whole answers are scored, of each answer."""
        n_answers, n_read = (texts.n_answers, texts.answer_tokens) if sweep.scores_whole else (1, 1)
        cells = sum(model.cell(layer, positions + n_read - 1, n_read) for layer in sweep.layers)
        return n_answers * len(sweep.magnitudes) * cells

    def _measure_batch(self, model: ModelSize, positions: float, sweeps: Sequence[Sweep]) -> float:
        """Working memory of a full batch: scores, a block's activations, and the clean passes that it starts from."""
        tokens, width = CELL_TOKENS[self.machine.device], BYTES_PER_WEIGHT[self.study.precision]
        n_layers = len({layer for sweep in sweeps for layer in sweep.layers})
        cells_per_layer = sum(sweep.cells_per_prompt for sweep in sweeps) / n_layers
        scores = 4 * SCORING * tokens / positions * model.d_vocab
        block = width * tokens * (12 * model.d_model + model.mlp / model.d_model)
        clean = width * tokens / cells_per_layer * 2 * n_layers * model.d_model
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
    disk_bytes: int = 0,
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
        disk_bytes=disk_bytes,
    )
