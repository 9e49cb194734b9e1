"""Answers are written as the bare model writes them, and compared as SQuAD's evaluation compares them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from architectures import OTHERS, QUICK, Family
from hypothesis import given
from hypothesis import strategies as st
from memory_injections.injection.generation import (
    count_new_tokens,
    decode_written,
    is_right,
    leaves_open,
    normalise_answer,
    write_answers,
)
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.limits import MORE_TOKENS
from memory_injections.terms import AnswerPositions
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

N_NEW = [5, 5, 3, 7, 5, 4]


@pytest.fixture(scope="module", params=["gpt2", "llama", "gpt-neox"])
def engine(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> SkippingEngine:
    return SkippingEngine(AutoModelForCausalLM.from_pretrained(tiny_models[request.param]).eval())


def draw_prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [[0, *torch.randint(1, 400, (n,), generator=generator).tolist()] for n in (5, 5, 6, 5, 6, 9)]


def write_slowly(
    model: PreTrainedModel, module: nn.Module | None, prompt: list[int], n: int, vector: Tensor, is_everywhere: bool
) -> list[int]:
    """Write token after token, each from a whole pass of the bare model."""

    def add(_: nn.Module, __: object, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        changed = output[0].clone()
        changed[:, : None if is_everywhere else len(prompt)] += vector
        return changed, *output[1:]

    handle = module.register_forward_hook(add) if module is not None else None
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(n):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    if handle is not None:
        handle.remove()
    return ids[len(prompt) :]


def end_at(tokens: list[int], eos: int | list[int] | None) -> list[int]:
    ends = eos if isinstance(eos, list) else [eos]
    return tokens[: next((place for place, token in enumerate(tokens) if token in ends), len(tokens))]


@pytest.mark.parametrize("positions", ["prompt", "all", None])
def test_a_batch_writes_what_the_bare_model_writes_token_after_token(
    engine: SkippingEngine, positions: AnswerPositions | None
) -> None:
    prompts, layers = draw_prompts(), [0, 2, 1, 2, 0, 1]
    vectors = 3 * torch.randn(len(prompts), 32, generator=torch.Generator().manual_seed(1))
    added = (layers, vectors, positions) if positions else ()
    written = write_answers(engine, prompts, N_NEW, *added)
    changed, ends = 0, engine.model.generation_config.eos_token_id
    for row, prompt in enumerate(prompts):
        module = engine.components.attention[layers[row]] if positions else None
        slow = write_slowly(engine.model, module, prompt, N_NEW[row], vectors[row], positions == "all")
        assert end_at(written[row][: N_NEW[row]], ends) == end_at(slow, ends)
        changed += slow != write_slowly(engine.model, None, prompt, N_NEW[row], vectors[row], False)
    assert changed > 2 if positions else not changed


@pytest.mark.parametrize(
    "family", [*QUICK.values(), *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS.values())],
    ids=[*QUICK, *OTHERS],
)  # fmt: skip
def test_prompts_that_are_filled_up_are_continued_as_alone(family: Family) -> None:
    engine = SkippingEngine(family.build())
    generator = torch.Generator().manual_seed(0)
    prompts = [[0, *torch.randint(1, 300, (n,), generator=generator).tolist()] for n in (8, 9, 11, 12, 15, 14)]
    vectors, layers = 3 * torch.randn(len(prompts), 32, generator=generator), [0, 1, 0, 1, 0, 1]
    ends = engine.model.generation_config.eos_token_id
    for added in ((), (layers, vectors)):
        together = write_answers(engine, prompts, [5] * len(prompts), *added)
        for row, prompt in enumerate(prompts):
            alone = write_answers(
                engine, [prompt], [5], *((layers[row : row + 1], vectors[row : row + 1]) if added else ())
            )
            assert end_at(together[row], ends) == end_at(alone[0], ends)


def test_a_continuation_ends_where_it_leaves_nothing_open(engine: SkippingEngine) -> None:
    prompts, n_new = draw_prompts(), [6] * 6
    whole = write_answers(engine, prompts, n_new)
    lengths = [3, 1, 6, 2, 4, 9]

    def is_open(row: int, ids: Sequence[int]) -> bool:
        assert list(ids) == whole[row][: len(ids)]
        return len(ids) < lengths[row]

    written = write_answers(engine, prompts, n_new, is_open=is_open)
    assert written == [ids[:length] for ids, length in zip(whole, lengths, strict=True)]


def test_the_context_ends_what_is_written(engine: SkippingEngine) -> None:
    assert engine.n_ctx == 64
    written = write_answers(engine, [[0] * 61, [1] * 64, [2] * 5], [5, 5, 5])
    assert len(written[0]) <= 3
    assert written[1] == []


def test_a_models_own_way_of_writing_does_not_matter(engine: SkippingEngine) -> None:
    plain = write_answers(engine, draw_prompts(), N_NEW)
    config = engine.model.generation_config
    config.repetition_penalty, config.do_sample, config.temperature = 5.0, True, 3.0
    try:
        assert write_answers(engine, draw_prompts(), N_NEW) == plain
        assert engine.model.generation_config is config
    finally:
        config.repetition_penalty, config.do_sample, config.temperature = None, None, None


@pytest.mark.parametrize(
    ("written", "answers", "right"),
    [
        ("the United States. It was", ["United States"], True),
        ("United", ["United States"], False),
        ("Unitedstates", ["United States"], False),
        ("an Herman  Melville, who", ["Melville", "Herman Melville"], True),
        ("Melvilles book", ["Melville"], False),
        ('"Moby-Dick"', ["Moby-Dick"], True),
        ("A", ["The"], False),
        ("the", ["The"], True),
        ("", ["x"], False),
    ],
)
def test_right_answers(written: str, answers: list[str], right: bool) -> None:
    assert is_right(written, answers) == right


@pytest.mark.parametrize(
    ("beginning", "answers", "is_open"),
    [
        (" Mel", ["Herman Melville", "Melville"], True),
        (" Herman", ["Melville"], False),
        (" Melvilles", ["Melville"], True),  # which later words decide
        (" the", ["Melville"], True),
        (" th", ["Melville"], True),
        (' "', ["Melville"], True),
        ("", ["Melville"], True),
        (" A", ["Moscow"], True),
        (" Ap", ["Moscow"], False),
        ("", ["The"], True),
        (" \ufffd", ["Łódź"], True),  # the first byte of two
        (" Łó\ufffd", ["Łódź"], True),
        (" \ufffd Ł", ["Łódź"], False),
        ("university of th", ["University of the Arts"], True),
        ("university of thin", ["University of the Arts"], False),
        (" Melville", ["Melville"], True),
        (" Melville, the", ["Melville"], True),
        (" Melville, who", ["Melville"], False),  # it is right
        (" a the", ["A"], True),
    ],
)
def test_beginnings_that_leave_an_answer_open(beginning: str, answers: list[str], is_open: bool) -> None:
    assert leaves_open(beginning, answers) == is_open


WORDS = st.sampled_from(
    ["the", "The", "a", "an", "Arts", "that", "U.S.", '"Moby-Dick"', "Ann", "x\u2212the", "Łódź", "--"]
)


@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(WORDS, min_size=1, max_size=3))
def test_what_comes_behind_a_text_that_leaves_nothing_open_changes_nothing(text: list[str], answer: list[str]) -> None:
    whole, answers = " ".join(text), [" ".join(answer), " ".join(text[:2])]
    for these in (answers, answers[:1]):
        for end in range(len(whole) + 1):
            assert leaves_open(whole[:end], these) or is_right(whole[:end], these) == is_right(whole, these)


def test_normalisation_is_squads() -> None:
    assert normalise_answer("The  Lord of a Ring's (An) End.") == "lord of rings end"


def test_what_is_written_is_read_up_to_the_end_of_its_line(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer("Karl Marx is buried in")["input_ids"]
    written = tokenizer(" London\nand so on")["input_ids"]
    assert decode_written(tokenizer, prompt, written) == "London"
    assert count_new_tokens(tokenizer, ["London", "the city of London"]) == MORE_TOKENS + len(
        tokenizer(" the city of London")["input_ids"]
    )
