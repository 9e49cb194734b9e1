"""What the playground's page shows: the map of an answer over all sites, and a close look at one site."""

from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from memory_injections.analysis.averages import measure_effect
from memory_injections.analysis.numbers import write_signed
from memory_injections.errors import StudyError
from memory_injections.injection.hooked_engine import injecting
from memory_injections.interactive.injector import Continuation, Injector
from memory_injections.playground.questions import MAGNITUDES, Question, Site

ENCODING = "unembed"
# The effect, in nats, that has the strongest colour: 20 times the probability, or a 20th of it.
STRONGEST = 3.0
# The map comes in about so many parts: with more of them, it would take longer as a whole.
N_PARTS = 4
N_TOKENS, N_HEAD_TOKENS, N_NEW_TOKENS = 6, 3, 20


@dataclass(frozen=True)
class NextTokens:
    """The next tokens without and with a memory: a table of texts, the number of the answer's row, a sentence on it."""

    table: pd.DataFrame
    answer_row: int
    sentence: str


def check_question(injector: Injector, question: Question) -> None:
    """Raise `StudyError`, one sentence, for a text that is empty or too long for the model."""
    injector.tokenise_answer(question.prompt, question.answer)
    injector.read_memory(question.memory, ENCODING)
    try:
        injector.read_memory(question.shuffled, ENCODING)
    except StudyError as error:
        raise StudyError(f"shuffled memory: {error}") from None


def sweep_layers(injector: Injector, question: Question) -> Iterator[pd.DataFrame]:
    """Yield the cells of the map as they are computed, some layers at a time: the last layers, the quickest, first.

    The cells are those of `Injector.sweep`, with one more column: effect, the change of the answer's log-probability in
    nats.
    """
    step = -(-injector.n_layers // N_PARTS)
    for stop in range(injector.n_layers, 0, -step):
        cells = injector.sweep(
            question.prompt, question.memory, layers=range(max(0, stop - step), stop), magnitudes=MAGNITUDES,
            encoding=ENCODING, answer=question.answer,
        ).table  # fmt: skip
        yield cells.assign(effect=measure_effect)


def choose_colours(effect: float) -> tuple[str, str]:
    """Return the colour of an effect (nats) on the scale of the report's heat maps, and one that is legible on it."""
    background = matplotlib.colormaps["RdBu_r"](0.5 + float(np.clip(effect / STRONGEST, -1, 1)) / 2)[:3]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in background]
    luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
    # Contrast by WCAG 2, in which black has luminance 0 and white 1.
    with_black, with_white = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
    return to_hex(background), "#000000" if with_black > with_white else "#ffffff"


def compare_next_tokens(injector: Injector, question: Question, memory: str, site: Site) -> NextTokens:
    """Compare the most probable next tokens, and the answer's first token, without and with a memory."""
    injection = injector.inject(
        question.prompt, memory, layer=site.layer, magnitude=site.magnitude, encoding=ENCODING, answer=question.answer,
        top_k=N_TOKENS,
    )  # fmt: skip
    tokens = injection.table
    with np.errstate(divide="ignore"):  # a probability of zero counts as float32's least
        effects = measure_effect(np.log(tokens[["p_obscure", "p_injected"]]).add_prefix("log"))
    texts = {
        "next token": tokens["token"].map(repr),
        "before": tokens["p_obscure"].map("{:.3g}".format),
        "after": tokens["p_injected"].map("{:.3g}".format),
        "effect": effects.map(write_signed),
        "rank": tokens["rank_obscure"].map(str)
        + "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}"
        + tokens["rank_injected"].map(str),
    }
    answer = injection.answer
    assert answer is not None  # the question has one
    sentence = (
        f"{answer.token!r} goes from {answer.p_obscure:.3g} (rank {answer.rank_obscure}) "
        f"to {answer.p_injected:.3g} (rank {answer.rank_injected}): {write_signed(effects[answer.name])} nats."
    )
    return NextTokens(pd.DataFrame(texts), int(tokens.index.get_loc(answer.name)), sentence)


def continue_question(injector: Injector, question: Question, memory: str, site: Site) -> Continuation:
    """Continue the prompt without and with a memory, by the most probable tokens."""
    return injector.generate(
        question.prompt, memory, layer=site.layer, magnitude=site.magnitude, encoding=ENCODING,
        max_new_tokens=N_NEW_TOKENS,
    )  # fmt: skip


def read_heads(injector: Injector, question: Question, memory: str, site: Site) -> pd.DataFrame:
    """Read the heads of the site's next layer without and with a memory.

    Returns a row for each head, with the texts of its top tokens: columns head, before and after.
    """
    vector = site.magnitude * injector.vector(memory, ENCODING)
    before = _list_top_tokens(injector, question, site)
    with injecting(injector.model.process_weights(), vector, site.layer):
        after = _list_top_tokens(injector, question, site)
    return pd.DataFrame({"before": before, "after": after}).rename_axis("head").reset_index().map(str)


def _list_top_tokens(injector: Injector, question: Question, site: Site) -> pd.Series:
    heads = injector.heads(question.prompt, [site.heads_layer], N_HEAD_TOKENS, answer=question.answer)
    return heads.groupby("head")["token"].agg(lambda tokens: "  ".join(map(repr, tokens)))
