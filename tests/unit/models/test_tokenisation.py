"""Tokenisation by the study's conventions."""

import re
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from conftest import GOLDEN
from memory_injections.errors import StudyError
from memory_injections.models.tokenisation import (
    Prompt,
    batch_by_length,
    find_first_token,
    find_injected_token,
    pad,
    tokenise_memory,
    tokenise_pairs,
    tokenise_prompt,
)
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@pytest.fixture
def split_at() -> Callable[[str], PreTrainedTokenizerFast]:
    """Make a tokenizer whose tokens are the matches of a regular expression in a small vocabulary."""

    def make(pattern: str) -> PreTrainedTokenizerFast:
        vocabulary = {token: index for index, token in enumerate(["<s>", "the", " ", "  ", "x", " x", "\n"])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")

    return make


def test_prompt_has_bos_and_memory_has_none(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenise_prompt(tokenizer, "Peru")[0] == tokenizer.bos_token_id
    assert tokenise_prompt(tokenizer, "Peru", bos=False) == tokenise_prompt(tokenizer, "Peru")[1:]
    assert tokenizer.decode(list(tokenise_memory(tokenizer, "e"))) == "e"


def test_a_repeated_token_counts_once(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenise_memory(tokenizer, "Q Q Q") == tokenise_memory(tokenizer, "Q Q")


def test_an_answer_follows_its_prompt_with_a_space_between(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt.tokenise(tokenizer, "Lima lies in", "the west")
    assert prompt.tokens == tokenise_prompt(tokenizer, "Lima lies in")
    assert tokenizer.decode([prompt.answer]) == " the"
    assert Prompt.tokenise(tokenizer, "Lima lies in", "the west", bos=False).tokens == prompt.tokens[1:]


@pytest.mark.parametrize("name", ["tokenizer", *GOLDEN, "sentencepiece"])
def test_a_bare_space_before_an_answer_belongs_to_the_prompt(name: str, request: pytest.FixtureRequest) -> None:
    """A tiny tokenizer, those of the golden models, and one like Llama 2's."""
    tokenizer = request.getfixturevalue(name)
    own = tokenise_prompt(tokenizer, "The year was")
    (space,) = tokenizer.convert_tokens_to_ids(["▁" if name == "sentencepiece" else "Ġ"])
    prompt = Prompt.tokenise(tokenizer, "The year was", "1929")
    assert prompt.tokens == [*own, space]
    assert prompt.answer == tokenizer.convert_tokens_to_ids("1")
    word = Prompt.tokenise(tokenizer, "The year was", "the end")
    assert word.tokens == own
    assert tokenizer.decode([word.answer]).strip() == "the"


def test_prompt_and_answer_split_or_the_pair_is_named(split_at: Callable[[str], PreTrainedTokenizerFast]) -> None:
    tokenizer = split_at(r"\s+(?=\s)| ?\w+|\s+")  # all spaces but the last are one token
    pairs = pd.DataFrame(
        {"prompt_id": [7], **dict.fromkeys(["explicit_prompt", "obscure_prompt"], "the"), "answer": "x"}
    )
    assert tokenise_pairs(tokenizer, pairs)["obscure"] == [Prompt.tokenise(tokenizer, "the", "x")]
    sentence = r"^prompt pair 7: the prompt 'the ' and the answer ' x' do not split into tokens of their own; remove"
    with pytest.raises(StudyError, match=sentence):
        tokenise_pairs(tokenizer, pairs.assign(explicit_prompt="the ", answer=" x"))


def test_both_prompts_have_one_answer_token(split_at: Callable[[str], PreTrainedTokenizerFast]) -> None:
    tokenizer = split_at(r"(?<=\n) | ?\w+|\s")  # a space that begins a line is a token of its own
    pair = {"prompt_id": [3], "explicit_prompt": "the\n", "obscure_prompt": "the\n", "answer": "x"}
    assert [prompt.answer for (prompt,) in tokenise_pairs(tokenizer, pd.DataFrame(pair)).values()] == [4, 4]
    sentence = r"^prompt pair 3: the answer 'x' starts with another token behind the explicit prompt than behind"
    with pytest.raises(StudyError, match=sentence):
        tokenise_pairs(tokenizer, pd.DataFrame(pair | {"obscure_prompt": "the"}))


def test_a_memorys_first_token_carries_text(sentencepiece: PreTrainedTokenizerFast) -> None:
    assert find_first_token(sentencepiece, "1929") == sentencepiece.convert_tokens_to_ids("1")


def test_the_injected_token_is_one_of_those_that_are_injected(tokenizer: PreTrainedTokenizerFast) -> None:
    for memory in ("George Washington", "\u2003Lima"):
        found = find_injected_token(tokenizer, memory)
        assert found in tokenise_memory(tokenizer, memory)
        assert str(tokenizer.decode([found])).strip()
    with pytest.raises(StudyError, match="has no tokens"):
        find_injected_token(tokenizer, "")


def test_an_answer_without_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = pd.DataFrame({"prompt_id": [0, 1], "answer": ["Lima", "\u2003\n"]})
    pairs = pairs.assign(explicit_prompt="Peru's capital is", obscure_prompt="The capital is")
    with pytest.raises(StudyError, match=r"prompt pair 1: the answer '\\u2003\\n' has no token that carries text"):
        tokenise_pairs(tokenizer, pairs)
    with pytest.raises(StudyError, match="has no tokens"):
        tokenise_memory(tokenizer, "")


def test_pad_and_batches() -> None:
    tokens, lengths = pad([[5], [6, 7]], torch.device("cpu"))
    assert tokens.tolist() == [[5, 0], [6, 7]]
    assert lengths.tolist() == [1, 2]
    sizes = [9, 3, 9, 10, 3, 30]
    batches = batch_by_length(sizes, max_tokens=20, multiple_of=4)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    for batch in batches:
        rounded = {-(-sizes[index] // 4) * 4 for index in batch}
        assert len(rounded) == 1
        assert len(batch) == 1 or len(batch) * rounded.pop() <= 20
    assert [len({sizes[i] for i in batch}) for batch in batch_by_length(sizes, 1000)] == [1, 1, 1, 1]


def pair_of(**texts: str) -> pd.DataFrame:
    own = {"explicit_prompt": "Lima lies in", "obscure_prompt": "Lima lies in", "memory": "Peru", "answer": "the west"}
    return pd.DataFrame([{"prompt_id": 4, **own, **texts}])


@pytest.mark.parametrize("name", ["words", "unigram"])
def test_an_unknown_answer_or_memory_is_refused(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    sentence = r"^prompt pair 4: the answer '東京' starts with what the tokenizer does not know; give it a text"
    with pytest.raises(StudyError, match=sentence):
        tokenise_pairs(tokenizer, pair_of(answer="東京"))
    with pytest.raises(StudyError, match="the memory '東京' has no tokens"):
        tokenise_memory(tokenizer, "東京")
    with pytest.raises(StudyError, match="'東京' starts with what the tokenizer does not know"):
        find_first_token(tokenizer, "東京")
    assert tokenise_pairs(tokenizer, pair_of(answer="the 東京"))  # only the first token is scored


@pytest.mark.parametrize(
    ("name", "special"),
    [("tokenizer", "<|bos|>"), ("sentencepiece", "<s>"), ("words", "<unk>"), ("unigram", "<s>"),
     *((name, special) for name in GOLDEN for special in ("<|endoftext|>", "<jupyter_code>"))],
)  # fmt: skip
def test_the_text_of_a_special_token_is_no_such_token(name: str, special: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    sentence = f"^prompt pair 4: {re.escape(repr(special))} is a special token of the tokenizer, no text; leave it out"
    for column in ("explicit_prompt", "obscure_prompt", "answer"):
        with pytest.raises(StudyError, match=sentence):
            tokenise_pairs(tokenizer, pair_of(**{column: f"the {special} of"}))
    for text in (special, f"Peru{special}"):
        with pytest.raises(StudyError, match="is a special token of the tokenizer"):
            tokenise_memory(tokenizer, text)
    assert tokenise_pairs(tokenizer, pair_of(explicit_prompt="Lima < s > lies in the | of"))
