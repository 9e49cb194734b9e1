"""What the playground's page shows: the map of an answer over all sites, and a close look at one site."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_hex

from memory_injections.analysis.averages import measure_effect
from memory_injections.errors import StudyError
from memory_injections.injection.hooked_engine import injecting
from memory_injections.injection.validation import check_overflow
from memory_injections.interactive.injector import Injector
from memory_injections.interactive.results import Continuation
from memory_injections.models.limits import CELL_PADDING, CELL_TOKENS
from memory_injections.models.scoring import score_answers
from memory_injections.models.tokenisation import pad
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

    The cells are those of `Injector.sweep`, with columns layer, magnitude, p_obscure, p_injected, rank_obscure,
    rank_injected and effect (change of the answer's log-probability, nats).
    """
    scored, engine = injector.tokenise_answer(question.prompt, question.answer), injector.model.engine
    tokens, lengths = pad([scored.tokens], engine.device, CELL_PADDING[engine.device.type])
    clean, answer = engine.clean(tokens, lengths), torch.tensor([scored.answer], device=engine.device)
    before = score_answers(clean.logits.log_softmax(dim=1), answer)
    vector = injector.vector(question.memory, ENCODING)
    at_once = CELL_TOKENS[engine.device.type] // (tokens.shape[1] * len(MAGNITUDES))
    step = max(1, min(at_once, -(-injector.n_layers // N_PARTS)))
    for stop in range(injector.n_layers, 0, -step):
        cells = pd.DataFrame(product(range(max(0, stop - step), stop), MAGNITUDES), columns=["layer", "magnitude"])
        magnitudes = torch.tensor(cells["magnitude"].to_numpy(), dtype=vector.dtype, device=vector.device)
        rows = torch.zeros(len(cells), dtype=torch.long, device=engine.device)
        logits = engine.injected(clean, cells["layer"].tolist(), rows, magnitudes[:, None] * vector)
        for cell, own in zip(cells.itertuples(), logits, strict=True):
            check_overflow(own[None], cell.layer, cell.magnitude)
        after = score_answers(logits.log_softmax(dim=1), answer.expand(len(cells)))
        for name in before:
            cells[f"{name}_obscure"] = before[name].item()
            cells[f"{name}_injected"] = after[name].numpy(force=True)
        yield cells.assign(effect=measure_effect).drop(columns=["logp_obscure", "logp_injected"])


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
        "effect": effects.map("{:+.2f}".format),
        "rank": tokens["rank_obscure"].map(str)
        + "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}"
        + tokens["rank_injected"].map(str),
    }
    answer = injection.answer
    assert answer is not None  # the question has one
    sentence = (
        f"{answer.token!r} goes from {answer.p_obscure:.3g} (rank {answer.rank_obscure}) "
        f"to {answer.p_injected:.3g} (rank {answer.rank_injected}): {effects[answer.name]:+.2f} nats."
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
