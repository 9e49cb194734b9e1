"""Injections into many prompts at one site, each beside another prompt's memory and random directions."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import measure_effect
from memory_injections.controls.derangements import derange_memories
from memory_injections.errors import StudyError
from memory_injections.interactive.injector import Injector
from memory_injections.terms import PAPER_ENCODING


def inject_pairs(
    injector: Injector,
    pairs: pd.DataFrame,
    *,
    layer: int,
    magnitude: float = 1.0,
    encoding: str = PAPER_ENCODING,
    draws: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Inject each prompt pair's memory into its obscure prompt at one site, beside its controls.

    `pairs` has a study's columns (config/README.md). `shuffled` is another pair's memory, each taken once. Returns a
    row for each pair: prompt_id, memory, shuffled, answer (its first token), p_obscure, p_injected, p_shuffled,
    p_random, rank_obscure, rank_injected, and in nats effect, effect_shuffled and effect_random: the changes of the
    answer's log-probability, for random directions that of their mean probability. Raises `StudyError` for what
    `Injector.inject` refuses, and for pairs of which more than half share a memory.
    """
    others = derange_memories(pairs["memory"], None, seed)
    if others.isna().any():
        raise StudyError(
            "more than half of the pairs share a memory, so they cannot be exchanged; give other pairs too"
        )
    rows = []
    for other, pair in zip(others, pairs.itertuples(), strict=True):
        found = injector.inject(
            pair.obscure_prompt, pair.memory, layer=layer, magnitude=magnitude, encoding=encoding, answer=pair.answer,
            top_k=1, other=other, draws=draws, seed=seed,
        ).answer  # fmt: skip
        assert found is not None
        rows.append({"prompt_id": pair.prompt_id, "memory": pair.memory, "shuffled": other, "answer": found["token"]})
        rows[-1] |= found.drop(["token_id", "token", "percent_change"]).to_dict()
        if progress:
            progress(len(rows), len(pairs))
    table = pd.DataFrame(rows)
    for name, effect in (("injected", "effect"), ("shuffled", "effect_shuffled"), ("random", "effect_random")):
        with np.errstate(divide="ignore"):  # `measure_effect` knows what a probability of zero counts as
            logs = np.log(pd.DataFrame({"logp_obscure": table["p_obscure"], "logp_injected": table[f"p_{name}"]}))
        table[effect] = measure_effect(logs)
    return table
