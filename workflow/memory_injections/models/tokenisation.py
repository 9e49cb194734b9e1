"""Turning texts into token ids, as the paper (section 3) and the authors' code do, and batches of them."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tokenizers.models import Unigram
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from memory_injections.data.characters import has_text
from memory_injections.errors import StudyError
from memory_injections.terms import KIND_COLUMNS, PROMPT_KINDS

# Every encoding, and whoever checks a memory first, asks for its tokens again.
KNOWN_MEMORIES = 8192
# Each check of a prompt pair asks for its texts again.
KNOWN_TEXTS = 16
# Stands in decoded text for bytes that are no whole character.
PIECE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Prompt:
    """What a model reads before an answer, as token ids, and the token of the answer that is scored behind it.

    `rest` are the answer's tokens behind that one. The last `n_bare` of `tokens` belong to the answer, too: bare space
    tokens.
    """

    tokens: Sequence[int]
    answer: int
    rest: Sequence[int] = ()
    n_bare: int = 0

    @property
    def whole(self) -> list[int]:
        """The tokens of the prompt and of the whole answer."""
        return [*self.tokens, self.answer, *self.rest]

    @property
    def n_scored(self) -> int:
        """How many tokens the whole answer has."""
        return self.n_bare + 1 + len(self.rest)

    @classmethod
    def tokenise(cls, tokenizer: PreTrainedTokenizerBase, text: str, answer: str, bos: bool = True) -> "Prompt":
        """Tokenise a prompt that an answer follows, with a space between, and BOS in front unless `bos` is false.

        The answer's tokens are those that both together have behind the prompt's own. The first of them that carries
        text is scored. Bare space tokens before it (SmolLM2 writes " 1929" as a bare space and digits) belong to the
        prompt: the model reads them. Raises `StudyError` if prompt and answer do not split, if no token carries text or
        the first that should is of a text that the tokenizer does not know, and for the text of a special token.
        """
        alone, joint = (tokenise_prompt(tokenizer, whole, bos) for whole in (text, f"{text} {answer}"))
        if joint[: len(alone)] != alone:
            raise StudyError(
                f"the prompt {text!r} and the answer {answer!r} do not split into tokens of their own; remove spaces "
                "at the end of the prompt and at the start of the answer"
            )
        try:
            start = len(alone) + _find_text(tokenizer, joint[len(alone) :], answer)
        except StudyError as error:
            raise StudyError(f"the answer {error}") from None
        return cls(joint[:start], joint[start], joint[start + 1 :], start - len(alone))


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder."""
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def list_vocabulary(tokenizer: PreTrainedTokenizerBase, d_vocab: int) -> list[str]:
    """List the text of every token id of the model; ids that the tokenizer lacks have an empty text."""
    return [str(tokenizer.decode([token])) for token in range(d_vocab)]


def find_bos(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the BOS token or, if the tokenizer has none, of the EOS token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise StudyError(f"the tokenizer of {tokenizer.name_or_path} has neither BOS nor EOS token; add one to it")


@dataclass(frozen=True)
class Reserved:
    """The tokens of a tokenizer that are no text: special ones by id, and those that stand for unknown texts."""

    special: Mapping[int, str]
    unknown: frozenset[int]


@lru_cache(maxsize=4)
def find_reserved(tokenizer: PreTrainedTokenizerBase) -> Reserved:
    """Find the tokens that are no text."""
    special = {token: added.content for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    unknown = {tokenizer.unk_token_id}
    if tokenizer.is_fast:  # what the tokenizer does need not be what its config says
        model = tokenizer.backend_tokenizer.model
        if isinstance(model, Unigram):
            unknown.add(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["unk_id"])
        elif getattr(model, "unk_token", None):
            unknown.add(model.token_to_id(model.unk_token))
    return Reserved(special, frozenset(unknown - {None}))


@lru_cache(maxsize=KNOWN_TEXTS)
def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def tokenise_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text, without BOS and without a space in front.

    Raises `StudyError` where the text is taken for a special token, which it would silently become.
    """
    ids = list(_encode(tokenizer, text))
    reserved = find_reserved(tokenizer)
    for token in ids:
        name = reserved.special.get(token)
        if name is not None and (token not in reserved.unknown or name in text):
            raise StudyError(f"{name!r} is a special token of the tokenizer, no text; leave it out of the text")
    return ids


def tokenise_prompt(tokenizer: PreTrainedTokenizerBase, text: str, bos: bool = True) -> list[int]:
    """Return the tokens of a prompt, with BOS in front unless `bos` is false."""
    ids = tokenise_text(tokenizer, text)
    return [find_bos(tokenizer), *ids] if bos else ids


@lru_cache(maxsize=KNOWN_MEMORIES)
def tokenise_memory(tokenizer: PreTrainedTokenizerBase, memory: str, is_spaced: bool = False) -> tuple[int, ...]:
    """Return the *set* of a memory's tokens, sorted; raise `StudyError` if none of them is of a text that is known.

    If it `is_spaced`, they are those behind a space, from the first that carries text on.
    """
    tokens = tokenise_text(tokenizer, f" {memory}" if is_spaced else memory)
    ids = set(tokens[_find_text(tokenizer, tokens, memory) :] if is_spaced else tokens)
    if not any(str(tokenizer.decode([token])).strip() for token in ids - find_reserved(tokenizer).unknown):
        raise StudyError(
            f"the memory {memory!r} has no tokens of a known text; give it a text that the tokenizer knows"
        )
    return tuple(sorted(ids))


def find_first_token(tokenizer: PreTrainedTokenizerBase, memory: str) -> int:
    """Return the first token of a memory with a space in front that carries text; raise `StudyError` if none does."""
    tokens = tokenise_text(tokenizer, f" {memory}")
    try:
        return tokens[_find_text(tokenizer, tokens, memory)]
    except StudyError as error:
        raise StudyError(f"the memory {error}") from None


def find_injected_token(tokenizer: PreTrainedTokenizerBase, memory: str) -> int:
    """Return the first token of a memory as it is injected, without a space in front, that carries a known text.

    Raises `StudyError` as `tokenise_memory` does.
    """
    known = set(tokenise_memory(tokenizer, memory)) - find_reserved(tokenizer).unknown
    ids = tokenise_text(tokenizer, memory)
    return next(token for token in ids if token in known and str(tokenizer.decode([token])).strip())


def _find_text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], text: str) -> int:
    """Return where a text's tokens first carry text, behind bare spaces.

    Raises `StudyError` if they nowhere do, or if the tokenizer does not know what stands there.
    """
    for index, token in enumerate(tokens if has_text(text) else []):
        if token in find_reserved(tokenizer).unknown:
            raise StudyError(f"{text!r} starts with what the tokenizer does not know; give it a text that it knows")
        if str(tokenizer.decode([token])).strip():
            return index
    raise StudyError(f"{text!r} has no token that carries text; give it a text that the tokenizer knows")


def tokenise_pair(
    tokenizer: PreTrainedTokenizerBase, pair: Mapping[Hashable, str], bos: bool = True
) -> dict[str, Prompt]:
    """Tokenise both prompts of a pair with the answer, by kind of prompt.

    Raises `StudyError` for a prompt that `Prompt.tokenise` refuses, and for an answer that is scored by another token
    behind the explicit prompt than behind the obscure one.
    """
    answer = pair["answer"]
    prompts = {kind: Prompt.tokenise(tokenizer, pair[KIND_COLUMNS[kind]], answer, bos) for kind in PROMPT_KINDS}
    if len({prompt.answer for prompt in prompts.values()}) > 1:
        raise StudyError(
            f"the answer {answer!r} starts with another token behind the explicit prompt than behind the obscure one; "
            "let both prompts end alike"
        )
    return prompts


def tokenise_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame, bos: bool = True
) -> dict[str, list[Prompt]]:
    """Tokenise both prompts of prompt pairs with their answers, by kind of prompt.

    Raises `StudyError`, which names the pair, for what `tokenise_pair` refuses.
    """
    prompts: dict[str, list[Prompt]] = {kind: [] for kind in PROMPT_KINDS}
    for pair in pairs.to_dict("records"):
        try:
            for kind, prompt in tokenise_pair(tokenizer, pair, bos).items():
                prompts[kind].append(prompt)
        except StudyError as error:
            raise StudyError(f"prompt pair {pair['prompt_id']}: {error}") from None
    return prompts


def pad(
    rows: Sequence[Sequence[int]], device: torch.device, multiple_of: int = 1
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"]]:
    """Pad token rows on the right to a multiple of `multiple_of`; return them as one tensor, with their lengths.

    In a causal model, the padding needs no mask as long as nothing is read after a row's last token.
    """
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.zeros(len(rows), _round_up(int(lengths.max()), multiple_of), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    return upload(tokens, device), upload(lengths, device)


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for the work in progress there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def batch_by_length(lengths: Sequence[int], max_tokens: int, multiple_of: int = 1) -> list[list[int]]:
    """Batch rows by length, rounded up to a multiple; return their indices.

    A batch has at most `max_tokens` tokens, unless it is a single row.
    """
    batches: list[list[int]] = []
    for index in np.argsort(lengths, kind="stable").tolist():
        length = _round_up(lengths[index], multiple_of)
        same = batches and _round_up(lengths[batches[-1][0]], multiple_of) == length
        if not same or length * (len(batches[-1]) + 1) > max_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


def _round_up(length: int, multiple_of: int) -> int:
    return -(-length // multiple_of) * multiple_of


def check_length(row: Sequence[int], what: str, n_ctx: int | None) -> None:
    """Raise `StudyError` if one text is longer than the model's context."""
    if n_ctx is not None and len(row) > n_ctx:
        raise StudyError(f"{what} has {len(row)} tokens, but the model takes {n_ctx}; shorten it")
