"""The description that an obscure prompt has in place of the memory, and the positions of its tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from transformers import PreTrainedTokenizerBase

from memory_injections.controls.settings import Position
from memory_injections.data.entities import find_entity
from memory_injections.models.tokenisation import Prompt, tokenise_prompt


class Description(NamedTuple):
    """A part of a prompt: its text, and the characters from `start` up to, but without, `stop`."""

    text: str
    start: int
    stop: int

    @property
    def opening(self) -> str:
        """The description as the start of a sentence."""
        return self.text[:1].upper() + self.text[1:]


def find_description(explicit: str, obscure: str, memory: str) -> Description | None:
    """Find what the obscure prompt has where the explicit prompt has the memory; None if there is no such part.

    That is what lies between the beginning and the end that both prompts share, upper and lower case aside. If the
    explicit prompt has the memory, they share what stands before and after it; otherwise as many whole
    words as they can.
    """
    for start, stop in find_entity(explicit, memory):
        found = _cut(obscure, explicit[:start], explicit[stop:])
        if found is not None:
            return found
    ours, theirs = explicit.split(" "), obscure.split(" ")
    before = _count_common(_fold(ours), _fold(theirs))
    after = _count_common(_fold(ours[before:])[::-1], _fold(theirs[before:])[::-1])
    return _cut(obscure, " ".join(ours[:before]), " ".join(ours[len(ours) - after :]))


def _cut(text: str, before: str, after: str) -> Description | None:
    """Return the part of a text between a beginning and an end, spaces aside; None if it lacks one of the three."""
    before, after = before.rstrip(), after.lstrip()
    start, stop = len(before), len(text) - len(after)
    fits = text[:start].casefold() == before.casefold() and text[stop:].casefold() == after.casefold()
    part = text[start:stop].strip()
    return Description(part, text.index(part, start), text.index(part, start) + len(part)) if fits and part else None


def _fold(words: Sequence[str]) -> list[str]:
    return [word.casefold() for word in words]


def _count_common(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many items two sequences begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def describe_pairs(pairs: pd.DataFrame) -> list[Description | None]:
    """Find the description of each prompt pair."""
    return [
        find_description(*texts)
        for texts in zip(pairs["explicit_prompt"], pairs["obscure_prompt"], pairs["memory"], strict=True)
    ]


def find_span(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, text: str, description: Description | None, position: Position
) -> tuple[int, int] | None:
    """Return the positions, from the first up to, but without, the last, that `position` names; None if there are none.

    `text` is the prompt's own. A token that reaches into the description belongs to it.
    """
    n_tokens = len(prompt.tokens)
    if position == "description":
        if description is None:
            return None
        start, stop = (
            _count_common(prompt.tokens, tokenise_prompt(tokenizer, part))
            for part in (text[: description.start].rstrip(), text[: description.stop])
        )
        return (start, stop) if start < stop else None
    return {"all": (0, n_tokens), "without_bos": (1, n_tokens), "last": (n_tokens - 1, n_tokens)}[position]
