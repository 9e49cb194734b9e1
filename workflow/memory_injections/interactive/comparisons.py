"""An injection beside two controls: another memory, and random directions of the memory's length."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from memory_injections.analysis.averages import measure_effect
from memory_injections.controls.derangements import derange_memories
from memory_injections.controls.kinds import RANDOM, SHUFFLED
from memory_injections.controls.recipes import ControlEncoder, Recipe
from memory_injections.errors import StudyError
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.validation import check_layer, check_magnitude
from memory_injections.interactive.generation import continue_prompt
from memory_injections.interactive.injector import Injector, compute_next_tokens
from memory_injections.interactive.results import Injection
from memory_injections.terms import CURATED, PAPER_ENCODING


def inject_beside_controls(
    injector: Injector,
    prompt: str,
    memory: str,
    *,
    other: str,
    layer: int,
    magnitude: float = 1.0,
    encoding: str = PAPER_ENCODING,
    answer: str | None = None,
    top_k: int = 10,
    draws: int = 10,
    seed: int = 0,
) -> Injection:
    """Inject a memory, and in its place another one and random directions of its length.

    Returns what `Injector.inject` does, with two more columns of probabilities: `p_shuffled` with the memory `other`,
    and `p_random`, the mean over `draws` random directions. Raises `StudyError` for what `Injector.inject` refuses.
    """
    check_layer(layer, injector.n_layers)
    check_magnitude(magnitude)
    ids, wanted = injector.read_prompt(prompt, answer)
    vectors = _encode_controls(injector, memory, other, encoding, layer, draws, seed)
    before, after = compute_next_tokens(injector.model.engine, ids, vectors, layer, magnitude)
    injection = injector.compare(before, after[:1], wanted, top_k)
    probabilities = after[1:, injection.table["token_id"].tolist()].exp()
    table = injection.table.assign(p_shuffled=probabilities[0].numpy(), p_random=probabilities[1:].mean(dim=0).numpy())
    followed = None if injection.answer is None else table.loc[injection.answer.name]
    return replace(injection, table=table, answer=followed)


def continue_beside_controls(
    injector: Injector,
    prompt: str,
    memory: str,
    *,
    other: str,
    layer: int,
    magnitude: float = 1.0,
    encoding: str = PAPER_ENCODING,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
) -> dict[str, str]:
    """Continue a prompt without and with a memory, and in its place with another one and a random direction.

    Returns the texts by the names before, after, shuffled and random. Raises `StudyError` for what `Injector.generate`
    refuses.
    """
    check_layer(layer, injector.n_layers)
    check_magnitude(magnitude)
    ids, _ = injector.read_prompt(prompt, n_new=max_new_tokens)
    vectors = _encode_controls(injector, memory, other, encoding, layer, 1, seed)
    texts = continue_prompt(injector.model, ids, vectors, layer, magnitude, max_new_tokens, temperature, seed)
    return dict(zip(("before", "after", "shuffled", "random"), texts, strict=True))


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
        found = inject_beside_controls(
            injector, pair.obscure_prompt, pair.memory, other=other, layer=layer, magnitude=magnitude,
            encoding=encoding, answer=pair.answer, top_k=1, draws=draws, seed=seed,
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


def _encode_controls(
    injector: Injector, memory: str, other: str, encoding: str, layer: int, draws: int, seed: int
) -> Float[Tensor, "injection d_model"]:
    """Return the vectors of the memory, of the other one, and of random directions."""
    memory, other = (injector.read_memory(text, encoding) for text in (memory, other))
    recipes = [Recipe(CURATED, memory, 0, 0), Recipe(SHUFFLED, memory, 0, 0, source=other)]
    recipes += [Recipe(RANDOM, memory, 0, 0, seed=seed + draw) for draw in range(draws)]
    model = injector.model
    encoder = ControlEncoder(MemoryEncoder(model.engine, model.tokenizer, model.lens))
    return encoder.encode([(encoding, recipe.key) for recipe in recipes], [layer]).vectors
