"""Injections beside their controls, of one prompt or of many: is it this memory, or any push of that size?"""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from memory_injections.analysis.averages import measure_effect
from memory_injections.analysis.clusters import align_clusters, cluster_prompts
from memory_injections.analysis.effects import estimate_mean
from memory_injections.analysis.verdicts import combine_p_values, name_verdict
from memory_injections.controls.derangements import derange_memories
from memory_injections.controls.kinds import CONTROLS, IN_CONTEXT, RANDOM, SHUFFLED, WORDS
from memory_injections.controls.texts import score_prompts
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.validation import check_layer, check_magnitude
from memory_injections.interactive.injector import Injector, check_draws
from memory_injections.models.tokenisation import Prompt
from memory_injections.terms import CURATED, MARGIN, PAPER_ENCODING

# Controls that need no other text, in the order in which they are shown.
WITHOUT_OTHERS = ("opposite", "without_answer", "answer")
PAIR_SCORES = [
    "p_obscure", "p_injected", "p_shuffled", "p_random", "rank_obscure", "rank_injected", "effect", "effect_shuffled",
    "effect_random",
]  # fmt: skip


def inject_controls(
    injector: Injector,
    prompt: str,
    memory: str,
    *,
    answer: str,
    layer: int,
    magnitude: float = 1.0,
    encoding: str = PAPER_ENCODING,
    others: Sequence[str] = (),
    words: Sequence[str] = (),
    draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Inject a memory and its controls into one prompt at one site, and compare their effects on the answer.

    The controls are those of a study (docs/method.md); `shuffled` takes the memories in `others`, `matched_words` the
    `words`, and `random_direction` is drawn `draws` times. Returns a row for each, the memory first: control, n
    (injections), effect (mean change of the answer's log-probability, nats), contrast (the memory's effect minus that),
    and p_injected and rank_injected of the injection in the middle. The last row, `in_context`, has the memory as text
    in front of the prompt. Raises `StudyError` for what `Injector.inject` refuses, and for fewer than one draw.
    """
    check_draws(draws)
    check_layer(layer, injector.n_layers)
    check_magnitude(magnitude)
    memory = injector.read_memory(memory, encoding)
    others, words = ([injector.read_memory(text, encoding) for text in texts] for texts in (others, words))
    scored = injector.tokenise_answer(prompt, answer)
    in_front = injector.tokenise_answer(f"{memory}. {prompt}", answer, "prompt with the memory in front of it")
    specs = list(_list_specs(memory, scored, others, words, draws, seed, WITHOUT_OTHERS))
    cells = pd.DataFrame({"control": [spec.control for spec in specs]}).assign(
        prompt="prompt", encoding=encoding, memory=[spec.key for spec in specs], layer=layer, magnitude=magnitude
    )
    engine = injector.model.engine
    computer = CellComputer(engine, ControlEncoder(injector.encoder))
    computed = pd.concat(computer.compute(cells, {"prompt": scored})).sort_index()
    computed["effect"] = measure_effect(computed)
    in_context = {f"{name}_injected": values.item() for name, values in score_prompts([in_front], engine).items()}
    in_context["effect"] = in_context["logp_injected"] - computed["logp_obscure"].iloc[0]
    rows = [_summarise(str(control), group) for control, group in computed.groupby("control", sort=False)]
    table = pd.DataFrame([*rows, {"control": IN_CONTEXT, "n": 1, **in_context}], index=range(len(rows) + 1))
    table["contrast"] = table["effect"].iloc[0] - table["effect"]
    return table[["control", "n", "effect", "contrast", "p_injected", "rank_injected"]]


def _list_specs(
    memory: str,
    scored: Prompt,
    others: Sequence[str],
    words: Sequence[str],
    draws: int,
    seed: int,
    without_others: Sequence[str],
) -> Iterator[VectorSpec]:
    n_tokens = len(scored.tokens)
    yield VectorSpec(CURATED, memory, 0, n_tokens)
    for control, texts in ((SHUFFLED, others), (WORDS, words)):
        for text in texts:
            yield VectorSpec(control, memory, 0, n_tokens, source=text)
    for draw in range(draws):
        yield VectorSpec(RANDOM, memory, 0, n_tokens, seed=seed + draw)
    for control in without_others:
        yield VectorSpec(
            control, memory, 0, n_tokens, answer=scored.answer if "answer" in CONTROLS[control].takes else 0
        )


def _summarise(control: str, cells: pd.DataFrame) -> dict[str, object]:
    middle = cells.sort_values("effect").iloc[(len(cells) - 1) // 2].to_dict()
    return {**middle, "control": control, "n": len(cells), "effect": cells["effect"].mean()}


def inject_pairs(
    injector: Injector,
    pairs: pd.DataFrame,
    *,
    layer: int,
    magnitude: float = 1.0,
    relative: bool = False,
    encoding: str = PAPER_ENCODING,
    draws: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Inject each prompt pair's memory into its obscure prompt at one site, beside its controls.

    `pairs` has a study's columns (config/README.md). `shuffled` is another pair's memory, each taken once. If
    `relative`, the magnitude is a dose: a share of the length of the residual stream. `progress` is called with the
    number of finished injections and that of all. Returns a row for each pair: prompt_id, memory, shuffled, answer (its
    first token), p_obscure, p_injected, p_shuffled, p_random (the mean over random directions), rank_obscure,
    rank_injected, and in nats effect, effect_shuffled and effect_random: the changes of the answer's log-probability,
    for random directions their mean. Raises `StudyError` for what `Injector.inject` refuses, for pairs of which more
    than half share a memory, and for no pairs.
    """
    check_draws(draws)
    check_layer(layer, injector.n_layers)
    check_magnitude(magnitude)
    if pairs.empty:
        raise StudyError("there are no pairs; give at least two")
    others = derange_memories(pairs["memory"], None, seed)
    if others.isna().any():
        raise StudyError(
            "more than half of the pairs share a memory, so they cannot be exchanged; give other pairs too"
        )
    specs, prompts = [], {}
    for other, pair in zip(others, pairs.itertuples(), strict=True):
        prompts[pair.prompt_id] = injector.tokenise_answer(pair.obscure_prompt, pair.answer)
        texts = [injector.read_memory(text, encoding) for text in (pair.memory, other)]
        listed = _list_specs(texts[0], prompts[pair.prompt_id], texts[1:], [], draws, seed, ())
        specs += [(pair.prompt_id, spec.control, spec.key) for spec in listed]
    cells = pd.DataFrame(specs, columns=["prompt", "control", "memory"]).assign(
        encoding=encoding, layer=layer, magnitude=magnitude
    )
    model = injector.model
    encoder = MemoryEncoder(model.engine, model.tokenizer, model.processed, relative)
    finished: list[pd.DataFrame] = []
    for part in CellComputer(model.engine, ControlEncoder(encoder), yield_seconds=0.2).compute(cells, prompts):
        finished.append(part)
        if progress:
            progress(sum(map(len, finished)), len(cells))
    scored = pd.concat(finished).sort_index()
    scored["effect"] = measure_effect(scored)
    means = scored.pivot_table(index="prompt", columns="control", values=["p_injected", "effect"], aggfunc="mean")
    table = (
        scored[scored["control"] == CURATED]
        .set_index("prompt")
        .join(
            pd.DataFrame(
                {
                    f"{column}_{name}": means[value, control]
                    for column, value in (("p", "p_injected"), ("effect", "effect"))
                    for name, control in (("shuffled", SHUFFLED), ("random", RANDOM))
                }
            )
        )
    )
    named = pairs.set_index("prompt_id")[["memory"]].assign(shuffled=others.to_numpy())
    named["answer"] = injector.decode_each(prompts[name].answer for name in named.index)
    return named.join(table[PAIR_SCORES]).reset_index()


def judge_pairs(
    effects: pd.DataFrame, pairs: pd.DataFrame, *, margin: float = MARGIN, seed: int = 0
) -> tuple[pd.DataFrame, str]:
    """Estimate the mean effects of pairs, and name the verdict on "the memory helps" by a study's own rule.

    `effects` are those of `inject_pairs`. Returns a table with a row for the memory and one for the memory minus each
    control (`minus`: shuffled, random), which has the columns of `analysis.effects.Estimate`, in nats; and the verdict:
    the memory and its difference to other memories must agree. It flatters a site that was chosen on the same pairs.
    """
    clusters = pd.factorize(align_clusters(cluster_prompts(pairs), pd.Index(effects["prompt_id"])))[0]
    contrasts = {"": effects["effect"]}
    contrasts |= {name: effects["effect"] - effects[f"effect_{name}"] for name in ("shuffled", "random")}
    table = pd.DataFrame(
        {"minus": name, **estimate_mean(values.to_numpy("float64"), clusters, seed, with_power=False).columns}
        for name, values in contrasts.items()
    ).drop(columns="detectable")
    judged = [table.iloc[0], table.iloc[1]]
    return table, name_verdict(judged, combine_p_values(judged), margin)
