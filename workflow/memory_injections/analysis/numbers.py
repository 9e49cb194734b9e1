"""Numbers with signs as text, the same in tables, sentences, pages and the command line."""

import math

FEWEST_DIGITS, MOST_DIGITS = 2, 4


def write_signed(value: float, digits: int = FEWEST_DIGITS) -> str:
    """Write a number with its sign and some digits after the point; one that rounds to zero has no sign."""
    text = f"{value:+z,.{digits}f}"
    return text if text.strip("+0.") else text.removeprefix("+")


def choose_digits(low: float, high: float, fewest: int = FEWEST_DIGITS) -> int:
    """Return the digits after the point at which the two ends of an interval differ."""
    width = abs(high - low)
    if not 0 < width < math.inf:
        return fewest
    return min(max(fewest, -math.floor(math.log10(width))), MOST_DIGITS)
