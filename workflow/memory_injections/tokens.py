"""Texts to token ids, by the study's conventions (paper, section 3; the authors' code)."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .devices import upload
from .errors import StudyError
from .text import has_text

logger = logging.getLogger(__name__)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder."""
    return AutoTokenizer.from_pretrained(folder)


def vocabulary(tokenizer: PreTrainedTokenizerBase, d_vocab: int) -> list[str]:
    """The text of every token id that the model can say; ids beyond the tokenizer's are empty."""
    return [str(tokenizer.decode([token])) for token in range(d_vocab)]


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the BOS token, or of the EOS token in a tokenizer that has no BOS."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise StudyError(f"the tokenizer of {tokenizer.name_or_path} has neither BOS nor EOS token; add one to it")


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text by itself: no BOS, no space put in front."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str, bos: bool = True) -> list[int]:
    """The tokens of a prompt, behind the BOS token unless `bos` is false."""
    ids = text_ids(tokenizer, text)
    return [bos_id(tokenizer), *ids] if bos else ids


def memory_ids(tokenizer: PreTrainedTokenizerBase, memory: str) -> list[int]:
    """The *set* of a memory's tokens, sorted: a token counts once, however often it occurs."""
    ids = sorted(set(text_ids(tokenizer, memory)))
    if not ids:
        raise StudyError(f"the memory {memory!r} has no tokens; give it a text that the tokenizer knows")
    return ids


def first_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The first token that carries text of `text` with a space in front: what a model would say next.

    Some tokenizers (Llama's) put a bare space token first, which would score every answer alike; it is passed
    over. Raises `StudyError` if no token carries text.
    """
    for token in text_ids(tokenizer, f" {text}") if has_text(text) else []:
        if str(tokenizer.decode([token])).strip():
            return token
    raise StudyError(f"{text!r} has no token that carries text; give it a text that the tokenizer knows")


def answer_ids(tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame) -> list[int]:
    """`first_token` of every prompt pair's answer; warns where it is not the very first token."""
    scored, passed_over = [], 0
    for prompt_id, answer in zip(pairs["prompt_id"], pairs["answer"], strict=True):
        try:
            scored.append(first_token(tokenizer, answer))
        except StudyError as error:
            raise StudyError(f"prompt pair {prompt_id}: the answer {error}") from None
        passed_over += text_ids(tokenizer, f" {answer}")[0] != scored[-1]
    if passed_over:
        logger.warning("%d answers start with a bare space token; the token after it is scored", passed_over)
    return scored


def pad(
    rows: Sequence[Sequence[int]], device: torch.device, multiple_of: int = 1
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"]]:
    """Token rows as one tensor, padded on the right to a multiple of a length, with their lengths.

    The padding needs no mask in a causal model as long as nothing is read behind a row's last token.
    """
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.zeros(len(rows), _round_up(int(lengths.max()), multiple_of), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    return upload(tokens, device), upload(lengths, device)


def length_batches(lengths: Sequence[int], max_tokens: int, multiple_of: int = 1) -> list[list[int]]:
    """Indices of rows in batches of one length, rounded up to a multiple, with at most `max_tokens` tokens.

    A single row may have more.
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


def check_context(rows: Sequence[Sequence[int]], prompt_ids: Iterable[int], column: str, n_ctx: int | None) -> None:
    """Raise `StudyError` if a text of a column is longer than the model's context."""
    for prompt_id, row in zip(prompt_ids, rows, strict=True):
        if n_ctx is not None and len(row) > n_ctx:
            raise StudyError(
                f"prompt pair {prompt_id}: {column} has {len(row)} tokens, but the model takes {n_ctx}; shorten it"
            )
