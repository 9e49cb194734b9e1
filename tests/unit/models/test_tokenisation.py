"""Tokenisation by the study's conventions."""

import pandas as pd
import pytest
import torch
from memory_injections.errors import StudyError
from memory_injections.models.tokenisation import (
    batch_by_length,
    find_answer_tokens,
    find_first_token,
    pad,
    tokenise_memory,
    tokenise_prompt,
)
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def pairs_with(*answers: str) -> pd.DataFrame:
    return pd.DataFrame({"prompt_id": range(len(answers)), "answer": answers})


@pytest.fixture
def llama_like() -> PreTrainedTokenizerFast:
    """A tokenizer that turns a space into a separate "▁" token, as Llama's can."""
    vocabulary = {"<s>": 0, "▁": 1, "Paris": 2, "▁Rome": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "isolated")
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def test_prompt_has_bos_and_memory_has_none(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenise_prompt(tokenizer, "Peru")[0] == tokenizer.bos_token_id
    assert tokenise_prompt(tokenizer, "Peru", bos=False) == tokenise_prompt(tokenizer, "Peru")[1:]
    assert tokenizer.decode(tokenise_memory(tokenizer, "e")) == "e"


def test_a_repeated_token_counts_once(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenise_memory(tokenizer, "Q Q Q") == tokenise_memory(tokenizer, "Q Q")


def test_answer_is_scored_with_a_space_in_front(tokenizer: PreTrainedTokenizerFast) -> None:
    token = find_first_token(tokenizer, "the")
    assert str(tokenizer.decode([token])).startswith(" ")


def test_a_bare_space_token_is_passed_over(
    llama_like: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    assert llama_like(" Paris", add_special_tokens=False)["input_ids"] == [1, 2]
    assert find_answer_tokens(llama_like, pairs_with("Paris")) == [2]
    assert "start with a bare space token" in caplog.text


def test_an_answer_without_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(StudyError, match=r"prompt pair 1: the answer '\\u2003\\n' has no token that carries text"):
        find_answer_tokens(tokenizer, pairs_with("Lima", "\u2003\n"))
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
