"""Numbers in sentences, as a page shows them."""

import re


def typeset(text: str) -> str:
    """Give numbers the sign that print has for minus, and keep what belongs to a number on its line.

    For sentences of our own, never for a study's texts: prompts stay as they are.
    """
    text = re.sub(r"\[([^\[\]]+), ([^\[\]]+)\]", "[\\1,\u00a0\\2]", text)
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return re.sub(r"(?<=\d) (?=%|nats\b|points\b)", "\u00a0", text)
