"""Computing cells in batches: clean passes, injections and scores.

Prompts of similar length go through the model together. Their injections fill the batches, whatever their layer,
magnitude, memory and encoding.
"""

import gc
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from memory_injections.errors import OverflowingInjectionError, StudyError
from memory_injections.injection.engine import InjectionEngine, select_last
from memory_injections.injection.memory_vectors import Encoder
from memory_injections.models.limits import CELL_PADDING, CELL_TOKENS
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.scoring import kl_divergence, score_answers, score_others, sum_log_probs
from memory_injections.models.tokenisation import Prompt, batch_by_length, pad, upload
from memory_injections.terms import AnswerPositions

# Batches whose scores may still be on the device: enough to keep a GPU busy, few enough to lose little when a job ends.
IN_FLIGHT = 2
logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Batches:
    """How many tokens go through the model at once; whenever memory runs out, half as many."""

    def __init__(self, device: torch.device, max_tokens: int | None = None) -> None:
        self.device = device
        self.max_tokens = max_tokens or CELL_TOKENS[device.type]

    def attempt(self, rows: int, positions: int, work: Callable[[], Result]) -> Result | None:
        """Return the result of `work` on a batch of that size, or None if memory ran out: try again with a smaller one.

        Raises `StudyError` if the batch was a single row.
        """
        try:
            return work()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Not in the handler: as long as the exception lives, it holds the batch's tensors.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            raise StudyError(
                f"a single prompt of {positions} tokens does not fit into the memory of {self.device}; "
                "use bfloat16, more GPUs, or a smaller model"
            )
        self.max_tokens = rows * positions // 2
        logger.warning("out of memory with %d tokens at once; going on with %d", rows * positions, self.max_tokens)
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class CellComputer:
    """Computes cells of one model; `answers` are the tokens of all answers of a data set, to compare with.

    With `whole`, whole answers are scored, too: it says whether vectors are added at the `prompt`'s positions only, or
    at `all`, the answer's own among them.
    """

    def __init__(
        self,
        engine: InjectionEngine,
        encoder: Encoder,
        yield_seconds: float = 5.0,
        answers: Sequence[int] = (),
        whole: AnswerPositions | None = None,
    ) -> None:
        self.engine, self.encoder, self.whole = engine, encoder, whole
        self.answers = torch.tensor(sorted(set(answers)), dtype=torch.long, device=engine.device)
        self.yield_seconds = yield_seconds
        self.batches = Batches(engine.device)

    def compute(self, cells: pd.DataFrame, prompts: Mapping[Any, Prompt]) -> Iterator[pd.DataFrame]:
        """Yield the cells with their scores, every `yield_seconds`, in the order in which they are computed.

        `cells` has the columns prompt (a key of `prompts`), encoding, memory, layer and magnitude. If the encoder is
        relative, a magnitude is a share of the length of the residual stream before the layer, at the prompt's last
        position (see `processed_weights.ProcessedWeights.measure_lengths`). With the columns
        start and stop, a cell adds its vector at the positions from start (0 is BOS) up to, but without, stop;
        otherwise at all. The scores are p, logp (nats) and rank of the answer, before the injection (`_obscure`) and
        after (`_injected`); kl, which is KL(clean || injected) of the next token in nats; top_token_id, the most
        probable token after the injection; logp_others, the mean logp of other answers after it, if the computer
        has answers and the prompt's is not the only one; and, if it scores whole answers, logp_whole, the logp of all
        tokens of the answer, before and after. Ranks count from 0. Raises `OverflowingInjectionError` for an
        injection that overflows the model's arithmetic, and `StudyError` if a single prompt does not fit into memory.
        """
        finished = _FinishedCells(cells)
        for batch in _keep_in_flight(self._compute_batches(cells, prompts)):
            finished.add(batch)
            if finished.measure_age() > self.yield_seconds:
                yield finished.take()
        if finished.rows:
            yield finished.take()

    def list_tokens(self, prompt: Prompt) -> Sequence[int]:
        """List the tokens that the model reads: the prompt's and, for whole answers, the answer's but the last."""
        return prompt.whole[:-1] if self.whole else prompt.tokens

    def _compute_batches(self, cells: pd.DataFrame, prompts: Mapping[Any, Prompt]) -> Iterator["_ScoredBatch"]:
        """Compute all cells: prompts of similar length together, injections in the order of their layers."""
        layers = sorted(cells["layer"].unique().tolist())
        memory, memories = pd.MultiIndex.from_frame(cells[["encoding", "memory"]]).factorize()
        vectors = self.encoder.encode(memories.tolist(), layers)
        cells = cells.drop(columns=["encoding", "memory"]).assign(
            row=range(len(cells)), vector=vectors.find_rows(memory, cells["layer"].to_numpy())
        )
        by_prompt = dict(iter(cells.groupby("prompt", sort=False)))
        waiting = sorted(by_prompt, key=lambda name: len(self.list_tokens(prompts[name])))
        multiple_of = CELL_PADDING[self.engine.device.type]
        per_layer = math.ceil(len(cells) / len(waiting) / len(layers))
        while waiting:
            lengths = [len(self.list_tokens(prompts[name])) for name in waiting]
            names = waiting[: len(batch_by_length(lengths, self.batches.max_tokens // per_layer, multiple_of)[0])]
            grouped = pd.concat([by_prompt[name] for name in names])
            prepare = partial(_PromptGroup, self, grouped, prompts, vectors.vectors)
            group = self.batches.attempt(len(names), lengths[len(names) - 1], prepare)
            if group is not None:
                waiting = waiting[len(names) :]
                yield from self._inject_group(group)
                del group

    def _inject_group(self, group: "_PromptGroup") -> Iterator["_ScoredBatch"]:
        """Compute the cells of a group in batches of nearly equal size."""
        start, stop = 0, len(group.layers)
        while start < stop:
            n_batches = math.ceil((stop - start) * group.positions / self.batches.max_tokens)
            n_rows = math.ceil((stop - start) / n_batches)
            score = partial(group.score, slice(start, start + n_rows))
            batch = self.batches.attempt(n_rows, group.positions, score)
            if batch is not None:
                start += n_rows
                yield batch


def _keep_in_flight(batches: Iterator["_ScoredBatch"]) -> Iterator["_ScoredBatch"]:
    """Yield the batches a little later than they come, so that the device works on the next while one is read."""
    waiting: deque[_ScoredBatch] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > IN_FLIGHT:
            yield waiting.popleft()
    yield from waiting


class _FinishedCells:
    """Scores of the cells that are finished, in arrays that are allocated once.

    A small array kept from each batch would lie between the large ones of the batches, and the memory that these
    release would not fit the next ones: a long sweep would take many times what it needs.
    """

    def __init__(self, cells: pd.DataFrame) -> None:
        self.cells = cells
        self.scores: dict[str, np.ndarray] = {}
        self.rows: list[np.ndarray] = []
        self.since = time.monotonic()

    def add(self, batch: "_ScoredBatch") -> None:
        """Add the scores of a batch; raise `OverflowingInjectionError` if one of its injections overflowed."""
        scores = batch.wait()
        is_overflow = ~np.isfinite(scores["logp_injected"])
        if is_overflow.any():
            first = self.cells.iloc[batch.rows[is_overflow][0]]
            raise OverflowingInjectionError(int(first["layer"]), float(first["magnitude"]))
        for name, values in scores.items():
            self.scores.setdefault(name, np.empty(len(self.cells), values.dtype))[batch.rows] = values
        self.rows.append(batch.rows)

    def measure_age(self) -> float:
        """Return the seconds since cells were last taken."""
        return time.monotonic() - self.since

    def take(self) -> pd.DataFrame:
        """Return the cells that were finished since the last call, with their scores."""
        rows = np.concatenate(self.rows)
        self.rows, self.since = [], time.monotonic()
        return self.cells.iloc[rows].assign(**{name: values[rows] for name, values in self.scores.items()})


class _PromptGroup:
    """Prompts of similar length after their clean pass, and their cells in the order of layers.

    Everything that the injections need is on the device, or on its way there.
    """

    def __init__(
        self,
        computer: CellComputer,
        cells: pd.DataFrame,
        prompts: Mapping[Any, Prompt],
        vectors: Float[Tensor, "vector d_model"],
    ) -> None:
        self.engine, self.vectors, self.all_answers = computer.engine, vectors, computer.answers
        self.is_prompt_only = computer.whole == "prompt"
        engine, encoder = computer.engine, computer.encoder
        cells = cells.sort_values("layer", kind="stable")
        self.rows, self.layers = cells["row"].to_numpy(), cells["layer"].tolist()
        self.codes, names = pd.factorize(cells["prompt"])
        here = [prompts[name] for name in names]
        rows = [computer.list_tokens(prompt) for prompt in here]
        tokens, lengths = pad(rows, engine.device, CELL_PADDING[engine.device.type])
        self.positions = tokens.shape[1]
        self.lengths = self._upload_array(np.array([len(prompt.tokens) for prompt in here]))
        self.whole = WholeAnswers(here, engine.device) if computer.whole else None
        self.clean = engine.clean(tokens, lengths, sorted(set(self.layers)), self.whole.n_read if self.whole else None)
        self.answers = self._upload_array(np.array([prompt.answer for prompt in here]))
        self.prompt = self._upload_array(self.codes)
        self.log_probs, self.obscure = self._score(self.clean.logits, np.arange(len(here)))
        self.vector = self._upload_array(cells["vector"].to_numpy())
        self.magnitude = self._upload_array(cells["magnitude"].to_numpy()).float()
        if encoder.is_relative:
            self.magnitude *= self._measure_residual(encoder.processed)
        self.span = self._upload_array(cells[["start", "stop"]].to_numpy()) if "start" in cells else None

    def _upload_array(self, values: np.ndarray) -> Tensor:
        return upload(torch.tensor(values), self.engine.device)

    def _measure_residual(self, processed: ProcessedWeights) -> Float[Tensor, " cell"]:
        """Return the length of the residual stream before each cell's layer, at its prompt's last position."""
        lengths = {
            layer: processed.measure_lengths(select_last(resid, self.lengths)).to(self.prompt.device)
            for layer, resid in self.clean.resid_pre.items()
        }
        by_layer = torch.stack([lengths[layer] for layer in sorted(lengths)])
        return by_layer[self._upload_array(np.searchsorted(sorted(lengths), self.layers)), self.prompt]

    def _select_positions(self, cells: slice) -> Bool[Tensor, "cell pos"] | None:
        """Return at which positions cells add their vectors; None for all."""
        positions, lengths = torch.arange(self.positions, device=self.prompt.device), self.lengths[self.prompt[cells]]
        if self.span is None:
            return positions < lengths[:, None] if self.whole and self.is_prompt_only else None
        start, stop = self.span[cells].T[..., None]
        if self.whole and not self.is_prompt_only:  # what reaches the prompt's end goes on over the answer
            stop = torch.where(stop < lengths[:, None], stop, self.positions)
        return (positions >= start) & (positions < stop)

    def _score(
        self, logits: Float[Tensor, "read vocab"], codes: np.ndarray
    ) -> tuple[Float[Tensor, "row vocab"], dict[str, Tensor]]:
        """Return the log-probabilities where the first token of each row's answer is scored, and the answer's scores.

        `codes` are the numbers of the rows' prompts in the group.
        """
        log_probs, scores = logits.log_softmax(dim=1), {}
        if self.whole:
            first, scores["logp_whole"] = self.whole.score(log_probs, codes)
            log_probs = log_probs[first]
        return log_probs, {**score_answers(log_probs, self.answers[self._upload_array(codes)]), **scores}

    def score(self, cells: slice) -> "_ScoredBatch":
        """Inject and score some of the group's cells; on a GPU the work may still be under way when this returns."""
        prompt = self.prompt[cells]
        deltas = self.magnitude[cells, None] * self.vectors[self.vector[cells]]
        where = self._select_positions(cells)
        logits = self.engine.injected(self.clean, self.layers[cells], prompt, deltas, where)
        log_probs, injected = self._score(logits, self.codes[cells])
        scores = {
            **{f"{name}_obscure": values[prompt] for name, values in self.obscure.items()},
            **{f"{name}_injected": values for name, values in injected.items()},
            "kl": kl_divergence(self.log_probs[prompt], log_probs),
            "top_token_id": log_probs.argmax(dim=1),
        }
        if len(self.all_answers):
            scores["logp_others"] = score_others(log_probs, self.answers[prompt], self.all_answers)
        return _ScoredBatch(self.rows[cells], scores)


class WholeAnswers:
    """The answers of some prompts as tokens, and where they are scored."""

    def __init__(self, prompts: Sequence[Prompt], device: torch.device) -> None:
        self.device = device
        self.n_read = [prompt.n_scored for prompt in prompts]
        self.n_bare = np.array([prompt.n_bare for prompt in prompts])
        self.tokens = [prompt.whole[-prompt.n_scored :] for prompt in prompts]

    def score(
        self, log_probs: Float[Tensor, "read vocab"], codes: np.ndarray
    ) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
        """Return where each row's first token that carries text is scored, and the logp (nats) of the whole answer.

        `codes` are the numbers of the rows' prompts.
        """
        n_read = np.array(self.n_read)[codes]
        tokens, rows, first = (
            upload(torch.tensor(values), self.device)
            for values in (
                np.concatenate([self.tokens[code] for code in codes]),
                np.repeat(np.arange(len(codes)), n_read),
                np.cumsum(n_read) - n_read + self.n_bare[codes],
            )
        )
        return first, sum_log_probs(log_probs, tokens, rows, len(codes))


class _ScoredBatch:
    """Scores on their way from the device, of cells named by their rows in the table of cells."""

    def __init__(self, rows: np.ndarray, scores: dict[str, Tensor]) -> None:
        self.rows = rows
        self.scores = {name: values.to("cpu", non_blocking=True) for name, values in scores.items()}
        self.event = torch.cuda.Event() if scores["kl"].is_cuda else None
        if self.event:
            self.event.record(torch.cuda.current_stream(scores["kl"].device))

    def wait(self) -> dict[str, np.ndarray]:
        """Wait for the scores, and return them."""
        if self.event:
            self.event.synchronize()
        return {name: values.numpy() for name, values in self.scores.items()}
