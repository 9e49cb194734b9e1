"""Entities: whether two texts name the same one, and where a text names one."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate

from memory_injections.data.characters import strip_ends


def identify_entity(text: str) -> str:
    """Return a text that is the same for all ways to write an entity.

    Upper and lower case, Unicode forms of the same characters, blanks and invisible characters around it, and the kind
    and number of blanks within make no difference.
    """
    return unicodedata.normalize("NFC", _fold(" ".join(strip_ends(text).split())))


def find_entity(text: str, entity: str) -> list[tuple[int, int]]:
    """List where a text names an entity, as (first character, the one behind the last).

    Other letters of the same entity count only where the text has it nowhere as it is written, blanks around it aside.
    """
    exact = [match.span() for match in re.finditer(re.escape(entity.strip()), text)]
    return exact or list(_find_other_letters(text, _fold(identify_entity(entity))))


def _find_other_letters(text: str, wanted: str) -> Iterator[tuple[int, int]]:
    pieces = _split_characters(text)
    folded = [" " if text[start].isspace() else _fold(text[start:stop]) for start, stop in pieces]
    # The piece that begins at a place of the folded text.
    starts = {place: piece for piece, place in enumerate(accumulate(map(len, folded), initial=0))}
    for match in re.finditer(re.escape(wanted), "".join(folded)) if wanted else ():
        if match.start() in starts and match.end() in starts:
            yield pieces[starts[match.start()]][0], pieces[starts[match.end()] - 1][1]


def _split_characters(text: str) -> list[tuple[int, int]]:
    """Split a text into runs of blanks and single characters, each with the marks that combine with it."""
    starts = [
        place
        for place, character in enumerate(text)
        if not place or not (unicodedata.combining(character) or (character.isspace() and text[place - 1].isspace()))
    ]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _fold(text: str) -> str:
    """Return a text without its case, decomposed; so folded, the parts of a text make up the folded whole."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
