"""Visible and invisible characters, and texts stripped of invisible ones at their ends."""

import re
import unicodedata

# Invisible, although Unicode counts them as letters, marks or symbols: joiners, fillers, variation selectors, tags.
_FILLERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# Visible, although Unicode counts them as formats: signs around or in front of numbers.
_SHOWN_FORMATS = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")


def is_visible(character: str) -> bool:
    """Return whether a character is visible: no space, separator, control or format character, or half of one."""
    if unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs"):
        return bool(_SHOWN_FORMATS.match(character))
    return not _FILLERS.match(character)


def has_text(text: str) -> bool:
    """Return whether a text has a visible character."""
    return any(map(is_visible, text))


def strip_end(text: str) -> str:
    """Return a text without the invisible characters at its end."""
    return text[: next((stop for stop in range(len(text), 0, -1) if is_visible(text[stop - 1])), 0)]


def strip_ends(text: str) -> str:
    """Return a text without the invisible characters at its start and end."""
    return strip_end(strip_end(text)[::-1])[::-1]
