"""Obscure prompts with one part of their description left out, which nobody can answer by going from fact to fact.

The description "The author of Das Kapital" has an entity (Das Kapital) and its relation to the memory (the author of).
A model that says the answer without one of the two takes a shortcut (Biran et al. 2024, arXiv 2406.12775).
"""

import re

from memory_injections.controls.descriptions import Description
from memory_injections.data.content_words import list_content_words
from memory_injections.data.entities import find_entity

# What may stand between the words of a name, such as "On the Origin of Species".
WITHIN_NAMES = {"of", "the", "a", "an", "and", "in", "on", "de", "la", "von", "van", "der"}
POSSESSIVE = re.compile(r"['’]s?(?=\s|$)")


def leave_out(obscure: str, description: Description, entity: str = "") -> tuple[str, str] | None:
    """Return an obscure prompt without the entity of its description, and one without the relation to it.

    "The author of Das Kapital died in" becomes "The author died in" and "Das Kapital died in". `entity` is the entity's
    name; without one, or where the description does not have it, it is the description's last name in capitals. With
    the entity goes what follows it in the description and the small words before it. None if there is no entity, or no
    word of content beside it.
    """
    text = description.text
    span = next(reversed(find_entity(text, entity)), None) if entity.strip() else None
    span = span or _find_name(text)
    if span is None:
        return None
    before, after = text[: span[0]], POSSESSIVE.sub("", text[span[1] :], count=1)
    relation = _trim(before) or (after.strip() if list_content_words(after) else "")
    if not relation:
        return None
    return _put(obscure, description, relation), _put(obscure, description, text[slice(*span)])


def _find_name(text: str) -> tuple[int, int] | None:
    """Return where the last name in a description is: words in capitals; None if there is none.

    The first word has a capital as every sentence's first one has, unless it goes on with others or is a possessive.
    """
    words = [(match.start(), match.end()) for match in re.finditer(r"\w[\w.&–-]*(?<!\.)\.?", text)]
    is_name = [text[start].isupper() and (start > 0 or bool(list_content_words(text[:stop]))) for start, stop in words]
    ends = [index for index, found in enumerate(is_name) if found]
    if not ends:
        return None
    first = last = ends[-1]
    for index in range(last - 1, -1, -1):
        between = text[words[index][1] : words[index + 1][0]]
        if between.strip() or not (is_name[index] or text[slice(*words[index])] in WITHIN_NAMES):
            break
        if is_name[index]:
            first = index
    start, stop = words[first][0], words[last][1]
    return (start, stop) if start > 0 or last > first or POSSESSIVE.match(text, stop) else None


def _trim(text: str) -> str:
    """Return a text without the words at its end that say nothing of what it is about; nothing if none does."""
    words = text.split()
    while words and not list_content_words(words[-1]):
        words.pop()
    return " ".join(words)


def _put(obscure: str, description: Description, part: str) -> str:
    """Return an obscure prompt with another text in the description's place."""
    opening = part if description.start else part[:1].upper() + part[1:]
    return f"{obscure[: description.start]}{opening}{obscure[description.stop :]}"
