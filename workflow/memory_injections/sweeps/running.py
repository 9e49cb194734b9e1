"""Running the sweeps of one model on one data set: known cells come from the store, the others are computed."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.data.prompt_pairs import iterate_pairs
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.models.tokenisation import Prompt
from memory_injections.sweeps.cell_plan import plan_cells
from memory_injections.sweeps.cells import KEY, SCORES
from memory_injections.sweeps.grid import Sweep
from memory_injections.sweeps.store import CellStore

# How many cells are planned, looked up and written together. This bounds the memory of a job.
CELLS_AT_ONCE = 100_000
PROMPTS_AT_ONCE = 1000
LIBRARIES = ("torch", "transformers", "transformer_lens", "tokenizers")
logger = logging.getLogger(__name__)


def describe_context(manifest: Mapping[str, Any], precision: str, device_type: str, code: str) -> dict[str, Any]:
    """Describe what all cells of a model depend on: its files, precision, device, code and libraries."""
    return {
        "files": manifest["files"],
        "precision": precision,
        "device": device_type,
        "code": code,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def score_cells(
    cells: pd.DataFrame,
    tokenise: Callable[[Sequence[str]], Mapping[str, Prompt]],
    computer: CellComputer,
    store: CellStore,
    progress: tqdm,
) -> tuple[pd.DataFrame, int]:
    """Return the scores of each distinct cell by `KEY`, from the store or computed and stored, and how many are new.

    `tokenise` gives the prompts with some keys. If cells have positions (columns start and stop), their `KEY` must tell
    them apart.
    """
    wanted = cells[[*KEY, *cells.columns.intersection(["start", "stop"])]].drop_duplicates(KEY)
    known = wanted[KEY].merge(store.known(set(wanted["prompt"])), on=KEY)
    found = wanted[KEY].merge(known[KEY], on=KEY, how="left", indicator=True)["_merge"] == "both"
    missing = wanted[~found.to_numpy()]
    progress.update(len(cells) - len(missing))
    computed = []
    for scored in computer.compute(missing, tokenise(missing["prompt"].unique())) if len(missing) else []:
        store.add(scored)
        computed.append(scored)
        progress.update(len(scored))
    return pd.concat([known, *computed])[[*KEY, *SCORES]], len(missing)


@dataclass
class Experiment:
    """All sweeps of one model over one data set."""

    model: str
    dataset: str
    sweeps: Sequence[Sweep]
    words: Mapping[str, Sequence[str]]
    seed: int
    pairs: Path
    cache: ActivationCache
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Sequence[str]
    n_known: int = 0
    n_computed: int = 0

    def run(self, computer: CellComputer, store: CellStore) -> Iterator[pd.DataFrame]:
        """Yield all cells, some prompts at a time, in the columns of `cells.SCHEMA`; known ones are not recomputed."""
        per_prompt = sum(sweep.cells_per_prompt for sweep in self.sweeps)
        rows = min(PROMPTS_AT_ONCE, max(1, CELLS_AT_ONCE // per_prompt))
        start = 0
        with tqdm(total=self.cache.n_prompts * per_prompt, desc="injections", unit="cell") as progress:
            for pairs in iterate_pairs(self.pairs, rows):
                p_explicit = self.cache.rows("explicit.p_answer", start, start + len(pairs)).numpy()
                start += len(pairs)
                cells = plan_cells(pairs, self.sweeps, self.words, self.seed)
                scores, n_computed = score_cells(
                    cells, partial(self._tokenise_prompts, cells, pairs), computer, store, progress
                )
                self.n_computed += n_computed
                self.n_known += len(scores) - n_computed
                cells = cells.merge(scores, on=KEY, how="left", validate="many_to_one")
                cells["p_explicit"] = cells["prompt_id"].map(pd.Series(p_explicit, index=pairs["prompt_id"]))
                cells = cells.assign(model=self.model, dataset=self.dataset)
                cells["top_token"] = [self.vocabulary[token] for token in cells["top_token_id"]]
                yield cells
        logger.info("%d cells: %d known, %d computed", self.n_known + self.n_computed, self.n_known, self.n_computed)

    def _tokenise_prompts(self, cells: pd.DataFrame, pairs: pd.DataFrame, keys: Sequence[str]) -> dict[str, Prompt]:
        """Tokenise the obscure prompts with some keys, with their answers; return them by their keys."""
        ids = cells.drop_duplicates("prompt").set_index("prompt")["prompt_id"].loc[keys]
        rows = pairs.set_index("prompt_id").loc[ids.to_numpy()]
        texts = zip(ids.index, rows["obscure_prompt"], rows["answer"], strict=True)
        return {key: Prompt.tokenise(self.tokenizer, text, answer) for key, text, answer in texts}
