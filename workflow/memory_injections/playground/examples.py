"""Examples for the default study's model: prompts where a memory works at a site, and others where it does not."""

from dataclasses import dataclass

from memory_injections.playground.questions import MAGNITUDES


@dataclass(frozen=True)
class Example:
    """A question and a site for it, and what it shows there."""

    prompt: str
    memory: str
    answer: str
    shuffled: str
    layer: int
    magnitude: float
    shows: str


# The memory raises the answer by at least half a nat, and by as much more than the shuffled memory does.
WORKS = (
    Example(
        "The hormone discovered by Banting and Best is produced in an organ called the", "Insulin", "pancreas",
        "Don Quixote", 3, 5.0, "the memory helps, and a shuffled one does not",
    ),
)  # fmt: skip
FAILS: tuple[Example, ...] = ()
assert MAGNITUDES
