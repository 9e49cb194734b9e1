"""Planning cells: every prompt at every site of a sweep, with the memory that is injected there."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from transformers import PreTrainedTokenizerBase

from memory_injections.data.answers import list_answers
from memory_injections.errors import StudyError
from memory_injections.models.tokenisation import Prompt, check_length
from memory_injections.sweeps.grid import Sweep
from memory_injections.terms import CURATED

logger = logging.getLogger(__name__)


def draw_word(words: Sequence[str], seed: int, column: str, prompt_id: int, layer: int, magnitude: float) -> str:
    """Draw the random memory of a cell; it depends on the seed and on this cell alone, not on the rest of the grid."""
    cell = f"{seed}|{column}|{prompt_id}|{layer}|{float(magnitude)!r}"
    return words[int.from_bytes(hashlib.sha256(cell.encode()).digest()[:8], "big") % len(words)]


def hash_prompt(obscure_prompt: str, answer: str) -> str:
    """Return the hash that stands for a prompt and its answer in the key of a cell."""
    return hashlib.blake2b(f"{obscure_prompt}\0{answer}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class KeyedPrompts:
    """The obscure prompts of some prompt pairs with their answers and aliases, tokenised, by the keys of their cells.

    `answers` has a row for each answer: the key of the prompt with the pair's answer (prompt), and with this one (key).
    """

    prompts: Mapping[str, Prompt]
    answers: pd.DataFrame

    @classmethod
    def of_pairs(cls, pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, n_ctx: int | None) -> "KeyedPrompts":
        """Tokenise prompt pairs. Aliases that cannot be scored, or are too long for the context, are left out.

        Raises `StudyError` for an answer that cannot be scored.
        """
        prompts: dict[str, Prompt] = {}
        rows, n_left_out = [], 0
        for pair in pairs.to_dict("records"):
            text, own = pair["obscure_prompt"], hash_prompt(pair["obscure_prompt"], pair["answer"])
            for answer in list_answers(pair):
                key = hash_prompt(text, answer)
                try:
                    prompts[key] = Prompt.tokenise(tokenizer, text, answer)
                    check_length(prompts[key].whole, f"prompt pair {pair['prompt_id']}", n_ctx)
                except StudyError:
                    if key == own:
                        raise
                    n_left_out += 1
                else:
                    rows.append((own, key))
        if n_left_out:
            logger.warning("%d aliases of answers cannot be scored and were left out", n_left_out)
        return cls(prompts, pd.DataFrame(rows, columns=["prompt", "key"]).drop_duplicates())


def plan_cells(
    pairs: pd.DataFrame, sweeps: Sequence[Sweep], words: Mapping[str, Sequence[str]], seed: int
) -> pd.DataFrame:
    """List every cell of some prompt pairs, sorted by sweep, prompt, layer and magnitude.

    Columns: `cells.KEY`, memories and prompt_id. `words` are the candidates of each kind of random memory.
    """
    keys = [hash_prompt(*pair) for pair in zip(pairs["obscure_prompt"], pairs["answer"], strict=True)]
    tables = []
    for sweep in sweeps:
        grid = pd.MultiIndex.from_product(
            [pairs["prompt_id"], sorted(sweep.layers), sorted(sweep.magnitudes)],
            names=["prompt_id", "layer", "magnitude"],
        )
        table = grid.to_frame(index=False)
        if sweep.memories == CURATED:
            table["memory"] = pairs["memory"].repeat(sweep.cells_per_prompt).to_numpy()
        else:
            table["memory"] = [draw_word(words[sweep.memories], seed, sweep.memories, *cell) for cell in grid]
        table["prompt"] = pd.Series(keys).repeat(sweep.cells_per_prompt).to_numpy()
        tables.append(table.assign(memories=sweep.memories, encoding=sweep.encoding, relative=sweep.relative))
    return pd.concat(tables, ignore_index=True)
