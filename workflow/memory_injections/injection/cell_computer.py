"""Computing cells: clean passes, batches of injections, scores.

Prompts of like length go through the model together; their injections, whatever the layer, magnitude, memory or
encoding, fill the batches.
"""

import gc
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.errors import StudyError
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.models.limits import CELL_PADDING, CELL_TOKENS
from memory_injections.models.scoring import answer_scores, kl_divergence
from memory_injections.models.tokenisation import length_batches, pad, upload

# Batches whose scores are still on the device: enough to keep a GPU busy, few enough to lose little.
IN_FLIGHT = 2


logger = logging.getLogger(__name__)


Result = TypeVar("Result")


@dataclass(frozen=True)
class Prompt:
    """An obscure prompt's token ids and its answer's first token."""

    tokens: Sequence[int]
    answer: int


class Batches:
    """How many tokens go through the model at once: as many as pay, and half as many whenever memory runs out."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.max_tokens = CELL_TOKENS[device.type]

    def attempt(self, rows: int, positions: int, work: Callable[[], Result]) -> Result | None:
        """The result of `work` on a batch, or None if it ran out of memory: try again with a smaller batch.

        Raises `StudyError` if the batch was a single row.
        """
        try:
            return work()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Only here, behind the handler, does nothing hold the batch any more.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            raise StudyError(
                f"a single prompt of {positions} tokens does not fit into the memory of {self.device}; "
                "use precision: bfloat16, more GPUs, or a smaller model"
            )
        self.max_tokens = rows * positions // 2
        logger.warning("out of memory with %d tokens at once; going on with %d", rows * positions, self.max_tokens)
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class CellComputer:
    """Computes cells of one model."""

    def __init__(self, engine: InjectionEngine, encoder: MemoryEncoder, yield_seconds: float = 5.0) -> None:
        self.engine, self.encoder = engine, encoder
        self.yield_seconds = yield_seconds
        self.batches = Batches(engine.device)

    def compute(self, cells: pd.DataFrame, prompts: Mapping[str, Prompt]) -> Iterator[pd.DataFrame]:
        """Yield the cells with their scores, what is done every few seconds, in the order in which it is done.

        `cells` has the columns prompt (a key of `prompts`), encoding, memory, layer and magnitude. The scores are
        p, logp (nats) and rank of the answer, before (`_obscure`) and after (`_injected`); kl, which is
        KL(clean || injected) of the next token in nats; and top_token_id, the most probable token after. Ranks
        count from 0. Raises `StudyError` where an injection overflows the model's arithmetic.
        """
        done = _Done(cells)
        for scored in _in_flight(self._injected(cells, prompts)):
            done.add(scored)
            if done.age() > self.yield_seconds:
                yield done.table()
        if done.positions:
            yield done.table()

    def _injected(self, cells: pd.DataFrame, prompts: Mapping[str, Prompt]) -> Iterator["_Scored"]:
        """All cells, prompts of like length together, in the order of their layers."""
        layers = sorted(cells["layer"].unique().tolist())
        memory, memories = pd.MultiIndex.from_frame(cells[["encoding", "memory"]]).factorize()
        vectors = self.encoder.encode(memories.tolist(), layers)
        cells = cells[["prompt", "layer", "magnitude"]].assign(
            position=range(len(cells)), vector=vectors.rows(memory, cells["layer"].to_numpy())
        )
        by_prompt = dict(iter(cells.groupby("prompt", sort=False)))
        waiting = sorted(by_prompt, key=lambda name: len(prompts[name].tokens))
        multiple_of = CELL_PADDING[self.engine.device.type]
        per_layer = math.ceil(len(cells) / len(waiting) / len(layers))
        while waiting:
            lengths = [len(prompts[name].tokens) for name in waiting]
            names = waiting[: len(length_batches(lengths, self.batches.max_tokens // per_layer, multiple_of)[0])]
            of_group = pd.concat([by_prompt[name] for name in names])
            prepare = partial(_Group, self.engine, of_group, prompts, vectors.vectors)
            group = self.batches.attempt(len(names), lengths[len(names) - 1], prepare)
            if group is not None:
                waiting = waiting[len(names) :]
                yield from self._of_group(group)
                del group

    def _of_group(self, group: "_Group") -> Iterator["_Scored"]:
        start, stop = 0, len(group.layers)
        while start < stop:
            n_batches = math.ceil((stop - start) * group.positions / self.batches.max_tokens)
            n_rows = math.ceil((stop - start) / n_batches)
            scored = self.batches.attempt(n_rows, group.positions, partial(group.scored, slice(start, start + n_rows)))
            if scored is not None:
                start += n_rows
                yield scored


def _in_flight(batches: Iterator["_Scored"]) -> Iterator["_Scored"]:
    """The same batches, each a little later, so that the device has work while one is looked at."""
    waiting: deque[_Scored] = deque()
    for scored in batches:
        waiting.append(scored)
        if len(waiting) > IN_FLIGHT:
            yield waiting.popleft()
    yield from waiting


class _Done:
    """The scores of cells that are done, in arrays made beforehand.

    A small array kept from every batch would lie between the batches' large ones, and none of the memory that
    these leave would fit the next: a long sweep would take many times what it needs.
    """

    def __init__(self, cells: pd.DataFrame) -> None:
        self.cells = cells
        self.scores: dict[str, np.ndarray] = {}
        self.positions: list[np.ndarray] = []
        self.since = time.monotonic()

    def add(self, scored: "_Scored") -> None:
        """Take the scores of a batch; raises `StudyError` if an injection overflowed."""
        found = scored.arrived()
        overflow = ~np.isfinite(found["logp_injected"])
        if overflow.any():
            worst = self.cells.iloc[scored.positions[overflow][0]]
            raise StudyError(
                f"config key injection.magnitudes: magnitude {worst['magnitude']:g} at layer {worst['layer']} "
                f"overflows {str(scored.dtype).removeprefix('torch.')}; use smaller ones"
            )
        for name, values in found.items():
            self.scores.setdefault(name, np.empty(len(self.cells), values.dtype))[scored.positions] = values
        self.positions.append(scored.positions)

    def age(self) -> float:
        """Seconds since the last table."""
        return time.monotonic() - self.since

    def table(self) -> pd.DataFrame:
        """What was done since the last time."""
        rows = np.concatenate(self.positions)
        self.positions, self.since = [], time.monotonic()
        return self.cells.iloc[rows].assign(**{name: values[rows] for name, values in self.scores.items()})


class _Group:
    """Prompts of like length after their clean pass, and the cells to compute for them, in the order of their layers.

    Everything that the injections need is sent to the device beforehand.
    """

    def __init__(
        self,
        engine: InjectionEngine,
        cells: pd.DataFrame,
        prompts: Mapping[str, Prompt],
        vectors: Float[Tensor, "vector d_model"],
    ) -> None:
        self.engine, self.vectors = engine, vectors
        cells = cells.sort_values("layer", kind="stable")
        self.cells, self.layers = cells["position"].to_numpy(), cells["layer"].tolist()
        codes, names = pd.factorize(cells["prompt"])
        tokens, lengths = pad([prompts[name].tokens for name in names], engine.device, CELL_PADDING[engine.device.type])
        self.positions = tokens.shape[1]
        self.clean = engine.clean(tokens, lengths, sorted(set(self.layers)))
        self.answers = self._on_device(np.array([prompts[name].answer for name in names]))
        self.log_probs = self.clean.logits.log_softmax(dim=1)
        self.obscure = answer_scores(self.log_probs, self.answers)
        self.prompt = self._on_device(codes)
        self.vector = self._on_device(cells["vector"].to_numpy())
        self.magnitude = self._on_device(cells["magnitude"].to_numpy()).float()

    def _on_device(self, values: np.ndarray) -> Tensor:
        return upload(torch.tensor(values), self.engine.device)

    def scored(self, rows: slice) -> "_Scored":
        """Some of the cells with their scores, perhaps still under way."""
        prompt = self.prompt[rows]
        deltas = self.magnitude[rows, None] * self.vectors[self.vector[rows]]
        log_probs = self.engine.injected(self.clean, self.layers[rows], prompt, deltas).log_softmax(dim=1)
        scores = {
            **{f"{name}_obscure": values[prompt] for name, values in self.obscure.items()},
            **{f"{name}_injected": values for name, values in answer_scores(log_probs, self.answers[prompt]).items()},
            "kl": kl_divergence(self.log_probs[prompt], log_probs),
            "top_token_id": log_probs.argmax(dim=1),
        }
        return _Scored(self.cells[rows], scores, self.engine.model.dtype)


class _Scored:
    """Cells, by their positions in the table, whose scores are on their way from the device."""

    def __init__(self, positions: np.ndarray, scores: dict[str, Tensor], dtype: torch.dtype) -> None:
        self.positions, self.dtype = positions, dtype
        self.scores = {name: values.to("cpu", non_blocking=True) for name, values in scores.items()}
        self.event = torch.cuda.Event() if scores["kl"].is_cuda else None
        if self.event:
            self.event.record()

    def arrived(self) -> dict[str, np.ndarray]:
        """The scores, once they are here."""
        if self.event:
            self.event.synchronize()
        return {name: values.numpy() for name, values in self.scores.items()}
