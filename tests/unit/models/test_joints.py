"""What is scored does not depend on the invisible characters where two texts meet."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import GOLDEN, ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory_injections import Injector
from memory_injections.data.characters import has_text, is_visible, strip_end, strip_ends
from memory_injections.data.prompt_pairs import STRIPPED, strip_pairs
from memory_injections.errors import StudyError
from memory_injections.models.tokenisation import pad, tokenise_memory, tokenise_pairs, tokenise_prompt
from transformers import PreTrainedTokenizerBase

PROMPT, MEMORY, ANSWER = (
    "The hormone discovered by Banting and Best is produced in an organ called the",
    "Insulin",
    "pancreas",
)
# Spaces, tabs and breaks; spaces of other widths; of no width; directions; fillers that are letters, marks or symbols.
INVISIBLE = (
    " \t\n\r\x0b\x0c\x1c\x85\xa0\xad\u1680\u2003\u2007\u2028\u2029\u202f\u205f\u3000"
    "\u200b\u200c\u200d\u2060\u2064\ufeff\u061c\u200e\u200f\u202a\u202e\u2066\u2069"
    "\u034f\u115f\u180e\u2800\u3164\ufe0f\uffa0\U000e0001\x00\x7f"
)
BLANKS = st.text(st.sampled_from(INVISIBLE), max_size=4)
SIGNS = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.sampled_from(
        ["Lima lies in", "Paris", "the year 1929", "1929", "e", "ירושלים", "東京", "a\u200bb", "❤", "\u0301x"]
    ),
    st.text(SIGNS, min_size=1, max_size=12),
).filter(has_text)
FUZZED = settings(
    deadline=None, max_examples=60, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def make_pairs(prompt: str, memory: str, answer: str) -> pd.DataFrame:
    texts = {"explicit_prompt": prompt, "obscure_prompt": prompt, "memory": memory, "answer": answer}
    return pd.DataFrame([{"prompt_id": 0, **texts}])


def tokenise(tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame) -> Sequence[object] | str:
    """Tokenise a pair with its memory, or return the sentence that refuses it."""
    try:
        return tokenise_pairs(tokenizer, pairs), tokenise_memory(tokenizer, pairs["memory"].iloc[0])
    except StudyError as error:
        return str(error)


def test_every_invisible_character_is_one() -> None:
    assert not any(map(is_visible, INVISIBLE))
    assert all(map(is_visible, "aß—。½🫨\u0600\u0301\ue000ـ"))


@pytest.mark.parametrize("name", ["tokenizer", *GOLDEN, "sentencepiece", "words"])
@FUZZED
@given(texts=st.tuples(TEXTS, TEXTS, TEXTS), blanks=st.tuples(*[BLANKS] * 5))
@example(texts=(PROMPT, MEMORY, ANSWER), blanks=(" ", "", " ", "", ""))
@example(texts=("The year was", "Lima", "1929"), blanks=("\u200b\n", "\ufeff", "\t", "\xa0", " "))
def test_blanks_at_the_joint_change_nothing(
    name: str, texts: tuple[str, str, str], blanks: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    prompt, memory, answer = strip_end(texts[0]), *map(strip_ends, texts[1:])
    clean = make_pairs(prompt, memory, answer)
    written = make_pairs(prompt + blanks[0], blanks[1] + memory + blanks[2], blanks[3] + answer + blanks[4])
    read = strip_pairs(written, "x")
    tokenizer = request.getfixturevalue(name)
    assert tokenise(tokenizer, read) == tokenise(tokenizer, clean)
    changed = (["explicit_prompt", "obscure_prompt"] * bool(blanks[0])) + ["memory"] * bool(blanks[1] + blanks[2])
    assert read[STRIPPED].tolist() == [", ".join(changed + ["answer"] * bool(blanks[3] + blanks[4]))]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("blank", [" ", "\n\t", "\xa0", "\u200b", "\ufeff"])
def test_the_python_api_reads_no_blanks_at_the_joint(
    blank: str, tiny_models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector.load(tiny_models["gpt2"], "cpu")
    clean = injector.inject("Lima lies in", "Peru", layer=1, answer="the west").table
    assert not caplog.messages
    found = injector.inject(f"Lima lies in{blank}", f"{blank}Peru{blank}", layer=1, answer=f"{blank}the west").table
    pd.testing.assert_frame_equal(found, clean)
    n = len(blank)
    said = [f"left out {k} invisible character{'s' if k > 1 else ''} around the" for k in (n, n, 2 * n)]
    assert caplog.messages == [
        f"{start} {what}" for start, what in zip(said, ("prompt", "answer", "memory"), strict=True)
    ]
    for blanks in ("", blank):
        injector.generate(f"Lima lies in{blanks}", "Peru", layer=1, max_new_tokens=2)
    grids = [
        injector.sweep(f"Lima lies in{own}", f"Peru{own}", magnitudes=[1.0], answer="the west") for own in ("", blank)
    ]
    pd.testing.assert_series_equal(grids[0].table["p_injected"], grids[1].table["p_injected"])


def test_the_readmes_first_example_with_a_blank(default_model: Path) -> None:
    injector = Injector.load(next(default_model.glob("*/checkpoint")), "cpu")
    for prompt in (PROMPT, f"{PROMPT} ", f"{PROMPT}\xa0\u200b"):
        found = injector.inject(prompt, MEMORY, layer=3, magnitude=4, answer=f" {ANSWER}").answer
        assert found is not None
        assert found["p_obscure"] == pytest.approx(0.0195, abs=5e-5)
        assert found["rank_obscure"] == 5
    # What docs/method.md says of the blank as a token of its own.
    model, tokenizer = injector.model, injector.model.tokenizer
    (answer,) = tokenizer(f" {ANSWER}", add_special_tokens=False)["input_ids"]
    tokens = tokenise_prompt(tokenizer, f"{PROMPT} ")
    clean = model.engine.clean(*pad([tokens], torch.device("cpu")), [])
    assert clean.logits.softmax(dim=1)[0, answer].item() == pytest.approx(4.6e-07, rel=0.02)


@pytest.mark.network
def test_the_doses_that_the_tutorial_names(default_model: Path) -> None:
    injector = Injector.load(next(default_model.glob("*/checkpoint")), "cpu")
    text = " ".join((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").split())
    other = "The novel in which Big Brother watches everyone was written by", "Nineteen Eighty-Four", "George Orwell"
    for prompt, memory, answer in ((PROMPT, MEMORY, ANSWER), other):
        dose = 4 * injector.dose(prompt, memory, layer=3, answer=answer)
        assert re.search(rf"\*{memory}\*[^*]*? {100 * dose:.0f} % as long", text)
