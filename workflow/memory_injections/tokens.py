"""Texts to token ids, by the study's conventions (paper, section 3; the authors' code)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .errors import StudyError
from .files import logger
from .prompts import has_text


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


def answer_ids(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str]) -> list[int]:
    """`first_token` of every answer; warns where it is not the very first token."""
    scored, passed_over = [], 0
    for row, answer in enumerate(answers):
        try:
            scored.append(first_token(tokenizer, answer))
        except StudyError as error:
            raise StudyError(f"prompt pair {row}: the answer {error}") from None
        passed_over += text_ids(tokenizer, f" {answer}")[0] != scored[-1]
    if passed_over:
        logger.warning("%d answers start with a bare space token; the token after it is scored", passed_over)
    return scored


def pad(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"]]:
    """Token rows as one tensor, padded on the right, with their lengths.

    The padding needs no mask in a causal model as long as nothing is read behind a row's last token.
    """
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    return tokens.to(device), lengths.to(device)


def length_batches(lengths: Sequence[int], max_tokens: int, max_padding: float = 0.0) -> list[list[int]]:
    """Indices of rows in batches of similar length: at most `max_tokens` tokens, at most this share of padding."""
    batches: list[list[int]] = []
    total = 0
    for index in np.argsort(lengths, kind="stable").tolist():
        longest, size = lengths[index], len(batches[-1]) + 1 if batches else 1
        fits = longest * size <= max_tokens and total + longest >= (1 - max_padding) * longest * size
        if not batches or not fits:
            batches.append([])
            total = 0
        batches[-1].append(index)
        total += longest
    return batches


def check_context(rows: Sequence[Sequence[int]], column: str, n_ctx: int | None) -> None:
    """Raise `StudyError` if a text of a column is longer than the model's context."""
    for index, row in enumerate(rows):
        if n_ctx is not None and len(row) > n_ctx:
            raise StudyError(
                f"prompt pair {index}: {column} has {len(row)} tokens, but the model takes {n_ctx}; shorten it"
            )
