"""Running the sweeps of one model on one data set: known cells come from the store, the others are computed."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import iterate_pairs
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.models.tokenisation import list_vocabulary
from memory_injections.sweeps.cell_plan import KeyedPrompts, plan_cells
from memory_injections.sweeps.cells import KEY, SCHEMA, SCORES, WHOLE_SCORES
from memory_injections.sweeps.grid import Sweep, split_sweeps
from memory_injections.sweeps.store import CellStore
from memory_injections.terms import AnswerPositions

# How many cells are planned, looked up and written together. This bounds the memory of a job.
CELLS_AT_ONCE = 100_000
PROMPTS_AT_ONCE = 1000
LIBRARIES = ("torch", "transformers", "transformer_lens", "tokenizers")
logger = logging.getLogger(__name__)


def describe_context(model: LoadedModel, code: str) -> dict[str, Any]:
    """Describe what all cells of a model depend on: its files, precision, device, code and libraries."""
    return {
        "files": model.manifest["files"],
        "precision": model.precision,
        "device": model.engine.device.type,
        "code": code,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def open_store(
    folder: Path,
    context: Mapping[str, Any],
    computer: CellComputer,
    scores: Mapping[str, pa.DataType] = SCORES,
    flush_seconds: float = 30.0,
) -> CellStore:
    """Open the store of cells in a context: those with relative doses, or of whole answers, have one of their own."""
    own: dict[str, Any] = {"is_relative": True} if computer.encoder.is_relative else {}
    if computer.whole:
        own, scores = {**own, "whole": computer.whole}, {**scores, **WHOLE_SCORES}
    return CellStore(folder, {**context, **own}, flush_seconds, scores)


def score_cells(
    cells: pd.DataFrame, prompts: KeyedPrompts, computer: CellComputer, store: CellStore, progress: tqdm
) -> tuple[pd.DataFrame, int, int]:
    """Return the scores of each distinct cell by `KEY`, and how many were known in the store and how many computed.

    If cells have positions (columns start and stop), their `KEY` must tell them apart. A whole answer's score is that
    of the best of the answer and its aliases; those are cells of their own.
    """
    distinct = cells[[*KEY, *cells.columns.intersection(["start", "stop"])]].drop_duplicates(KEY)
    every = distinct.merge(prompts.answers, on="prompt") if computer.whole else distinct.assign(key=distinct["prompt"])
    wanted = every.drop(columns="prompt").rename(columns={"key": "prompt"}).drop_duplicates(KEY)
    known = wanted[KEY].merge(store.known(set(wanted["prompt"])), on=KEY)
    found = wanted[KEY].merge(known[KEY], on=KEY, how="left", indicator=True)["_merge"] == "both"
    missing = wanted[~found.to_numpy()]
    own = set(distinct["prompt"])
    progress.update(len(cells) - int(missing["prompt"].isin(own).sum()))
    computed = []
    for scored in computer.compute(missing, prompts.prompts) if len(missing) else []:
        store.add(scored)
        computed.append(scored)
        progress.update(int(scored["prompt"].isin(own).sum()))
    scores = pd.concat([known, *computed])[[*KEY, *store.scores]]
    if len(every) > len(distinct):
        best = every.merge(scores.rename(columns={"prompt": "key"}), on=["key", *KEY[1:]]).groupby(KEY)
        scores = distinct[KEY].merge(scores.drop(columns=list(WHOLE_SCORES)), on=KEY)
        scores = scores.merge(best[list(WHOLE_SCORES)].max().reset_index(), on=KEY)
    return scores, len(known), len(missing)


@dataclass
class Experiment:
    """Injections of one model over one data set; `words` are the candidates of each kind of random memory.

    `answer_positions` says where memories are added in sweeps that score whole answers.
    """

    model: LoadedModel
    cache: ActivationCache
    pairs: Path
    words: Mapping[str, Sequence[str]]
    seed: int
    answer_positions: AnswerPositions = "prompt"
    n_known: int = 0
    n_computed: int = 0

    @cached_property
    def _vocabulary(self) -> Sequence[str]:
        return list_vocabulary(self.model.tokenizer, self.model.processed.W_U.shape[1])

    def write(self, sweeps: Sequence[Sweep], store: Path, code: str, output: Path) -> None:
        """Write all cells of some sweeps, in the columns of `cells.SCHEMA`.

        What the folder `store` does not have yet is computed and put there; `code` is the digest of what computes it.
        """
        context = describe_context(self.model, code)
        schema = SCHEMA.with_metadata({"memory_injections": json.dumps(context)})
        with replace_file(output) as path, pq.ParquetWriter(path, schema) as writer:
            for alike in split_sweeps(sweeps):
                encoder = self.model.build_encoder(alike[0].relative)
                whole = self.answer_positions if alike[0].scores_whole else None
                computer = CellComputer(self.model.engine, encoder, whole=whole)
                with open_store(store, context, computer) as cell_store:
                    for cells in self.run(alike, computer, cell_store):
                        cells = cells.reindex(columns=SCHEMA.names)
                        for _, sweep in cells.groupby(["memories", "encoding"], sort=False):
                            writer.write_table(pa.Table.from_pandas(sweep, schema, preserve_index=False))
        logger.info("%d cells: %d known, %d computed", self.n_known + self.n_computed, self.n_known, self.n_computed)

    def run(self, sweeps: Sequence[Sweep], computer: CellComputer, store: CellStore) -> Iterator[pd.DataFrame]:
        """Yield the cells of some sweeps, some prompts at a time; known ones are not computed again."""
        per_prompt = sum(sweep.cells_per_prompt for sweep in sweeps)
        rows = min(PROMPTS_AT_ONCE, max(1, CELLS_AT_ONCE // per_prompt))
        start = 0
        with tqdm(total=self.cache.n_prompts * per_prompt, desc="injections", unit="cell") as progress:
            for pairs in iterate_pairs(self.pairs, rows):
                p_explicit = self.cache.rows("explicit.p_answer", start, start + len(pairs)).numpy()
                start += len(pairs)
                cells = plan_cells(pairs, sweeps, self.words, self.seed)
                prompts = KeyedPrompts.of_pairs(pairs, self.model.tokenizer, self.model.engine.n_ctx)
                scores, n_known, n_computed = score_cells(cells, prompts, computer, store, progress)
                self.n_computed += n_computed
                self.n_known += n_known
                cells = cells.merge(scores, on=KEY, how="left", validate="many_to_one")
                cells["p_explicit"] = cells["prompt_id"].map(pd.Series(p_explicit, index=pairs["prompt_id"]))
                cells = cells.assign(model=self.cache.model, dataset=self.cache.dataset)
                cells["top_token"] = [self._vocabulary[token] for token in cells["top_token_id"]]
                yield cells
