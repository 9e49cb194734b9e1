"""Turning texts into token ids, as the paper (section 3) and the authors' code do, and batches of them."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from memory_injections.data.text_tables import has_text
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder."""
    return AutoTokenizer.from_pretrained(folder)


def list_vocabulary(tokenizer: PreTrainedTokenizerBase, d_vocab: int) -> list[str]:
    """List the text of every token id of the model; ids that the tokenizer lacks have an empty text."""
    return [str(tokenizer.decode([token])) for token in range(d_vocab)]


def find_bos(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the BOS token or, if the tokenizer has none, of the EOS token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise StudyError(f"the tokenizer of {tokenizer.name_or_path} has neither BOS nor EOS token; add one to it")


def tokenise_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text, without BOS and without a space in front."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def tokenise_prompt(tokenizer: PreTrainedTokenizerBase, text: str, bos: bool = True) -> list[int]:
    """Return the tokens of a prompt, with BOS in front unless `bos` is false."""
    ids = tokenise_text(tokenizer, text)
    return [find_bos(tokenizer), *ids] if bos else ids


def tokenise_memory(tokenizer: PreTrainedTokenizerBase, memory: str) -> list[int]:
    """Return the *set* of a memory's tokens, sorted; raise `StudyError` if there are none."""
    ids = sorted(set(tokenise_text(tokenizer, memory)))
    if not ids:
        raise StudyError(f"the memory {memory!r} has no tokens; give it a text that the tokenizer knows")
    return ids


def find_first_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Return the first token of a text with a space in front that is not a bare space.

    Some tokenizers (Llama's) start with a bare space token, which would be the same for every answer. Raises
    `StudyError` if no token carries text.
    """
    for token in tokenise_text(tokenizer, f" {text}") if has_text(text) else []:
        if str(tokenizer.decode([token])).strip():
            return token
    raise StudyError(f"{text!r} has no token that carries text; give it a text that the tokenizer knows")


def find_answer_tokens(tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame) -> list[int]:
    """Return the first token of every prompt pair's answer; log a warning if some answers start with a bare space."""
    scored, passed_over = [], 0
    for prompt_id, answer in zip(pairs["prompt_id"], pairs["answer"], strict=True):
        try:
            scored.append(find_first_token(tokenizer, answer))
        except StudyError as error:
            raise StudyError(f"prompt pair {prompt_id}: the answer {error}") from None
        passed_over += tokenise_text(tokenizer, f" {answer}")[0] != scored[-1]
    if passed_over:
        logger.warning("%d answers start with a bare space token; the token after it is scored", passed_over)
    return scored


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


def check_context(rows: Sequence[Sequence[int]], prompt_ids: Iterable[int], column: str, n_ctx: int | None) -> None:
    """Raise `StudyError` if a text is longer than the model's context."""
    for prompt_id, row in zip(prompt_ids, rows, strict=True):
        if n_ctx is not None and len(row) > n_ctx:
            raise StudyError(
                f"prompt pair {prompt_id}: {column} has {len(row)} tokens, but the model takes {n_ctx}; shorten it"
            )


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for the work in progress there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
