"""Examples for the default study's model: prompts where a memory works at a site, and others where it fails."""

from dataclasses import dataclass

HELPS = "The memory raises the answer, and much more than the shuffled one does."
SHUFFLED_TOO = "The memory raises the answer, but the shuffled one does nearly as much."
SHUFFLED_MORE = "The memory raises the answer, but the shuffled one does more."
LOWERS = "The memory makes the answer less probable."


@dataclass(frozen=True)
class Example:
    """A question, a site for it, and what it shows there."""

    prompt: str
    memory: str
    answer: str
    shuffled: str
    layer: int
    magnitude: float
    shows: str


WORKS = (
    Example(
        "The author of Das Kapital is buried in the city of", "Karl Marx", "London", "Don Quixote", 9, 2.0, HELPS
    ),
    Example(
        "The hormone discovered by Banting and Best is produced in an organ called the", "Insulin", "pancreas",
        "Karl Marx", 3, 4.0, HELPS,
    ),
    Example(
        "The squire of the knight who fought windmills is named", "Don Quixote", "Sancho Panza", "Insulin", 15, 4.0,
        HELPS,
    ),
)  # fmt: skip
FAILS = (
    Example(
        "The longest river in Africa flows into the", "Nile", "Mediterranean Sea", "Don Quixote", 6, 4.0, SHUFFLED_TOO
    ),
    Example(
        "The animal in the World Wildlife Fund logo feeds almost entirely on", "giant panda", "bamboo",
        "Napoleon Bonaparte", 3, 2.0, SHUFFLED_MORE,
    ),
    Example(
        "The Maid of Orleans was burned at the stake in the city of", "Joan of Arc", "Rouen", "Karl Marx", 15, 4.0,
        LOWERS,
    ),
)  # fmt: skip
