"""Tokenizers of the three kinds: bytes, pieces of words with "▁" for a space, and whole words.

Those of bytes are `tokenizer` and the golden models'.
"""

import pytest
from conftest import GOLDEN, PAIRS
from memory_injections.models.tokenisation import load_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def sentencepiece() -> PreTrainedTokenizerFast:
    """A tokenizer that works as Llama 2's: "▁" stands for a space, and every digit is a token."""
    bpe = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), digits])
    bpe.decoder = decoders.Metaspace()
    bpe.train([str(PAIRS)], trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>")


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are whole words; every word that it has not seen is `<unk>`."""
    level = Tokenizer(models.WordLevel(unk_token="<unk>"))
    level.pre_tokenizer = pre_tokenizers.Whitespace()
    level.train([str(PAIRS)], trainers.WordLevelTrainer(special_tokens=["<s>", "<unk>"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=level, bos_token="<s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def travelling() -> PreTrainedTokenizerBase:
    """A tokenizer of bytes in which every digit is a token, that of the golden model in this repository."""
    return load_tokenizer(GOLDEN["travelling"])


@pytest.fixture(scope="session")
def larger() -> PreTrainedTokenizerBase:
    """The tokenizer of the default study's model, which the golden model beside the clone has, too."""
    return load_tokenizer(GOLDEN["larger"])


@pytest.fixture(scope="session")
def unigram() -> PreTrainedTokenizerFast:
    """A tokenizer of pieces, not of bytes: what it does not know is `<unk>`, which its config does not name."""
    model = Tokenizer(models.Unigram())
    model.pre_tokenizer, model.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    model.train([str(PAIRS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>")
