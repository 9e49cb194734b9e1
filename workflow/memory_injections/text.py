"""What counts as text."""


def has_text(text: str) -> bool:
    """Whether any character of a text can be seen."""
    return any(character.isprintable() and not character.isspace() for character in text)
