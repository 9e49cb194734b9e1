"""Content words of a text, and prompts that give their memory or answer away by one of them."""

import re
from collections.abc import Mapping
from typing import Any

# Shorter words say little, and these say nothing of what a text is about.
SHORTEST = 3
FUNCTION_WORDS = {
    "about", "after", "all", "also", "and", "any", "are", "but", "can", "did", "does", "for", "from", "had", "has",
    "have", "her", "him", "his", "how", "into", "its", "not", "now", "off", "one", "our", "out", "over", "she", "than",
    "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "under", "upon", "was", "were",
    "what", "when", "where", "which", "while", "who", "whom", "whose", "will", "with", "you", "your",
}  # fmt: skip


def list_content_words(text: str) -> set[str]:
    """List the words of a text, in lower case, that say what it is about."""
    words = re.findall(r"\w+", text.casefold())
    return {word for word in words if len(word) >= SHORTEST and word not in FUNCTION_WORDS}


def shares_words(pair: Mapping[Any, Any]) -> bool:
    """Return whether the obscure prompt of a pair has a content word of the memory or the answer."""
    given = list_content_words(pair["obscure_prompt"])
    return not given.isdisjoint(list_content_words(pair["memory"]) | list_content_words(pair["answer"]))
