"""How closely a study's config wants injections looked at, and the sites that are looked at."""

from typing import NamedTuple

from pydantic import Field, field_validator

from memory_injections.controls.kinds import RANDOM, SHUFFLED
from memory_injections.sweeps.grid import EncodingName, check_list
from memory_injections.terms import Section

# Whose explicit prompt a head's output is taken from: the pair's own, or as a null, that of another pair.
OWN, OTHER = "own", "other"
# The controls beside which curated memories are looked at, one draw of each: what both do alike is not the memory's.
COMPARED = (SHUFFLED, RANDOM)


class InjectionSite(NamedTuple):
    """Where memories are injected, in which encoding, and at which magnitude or `relative` dose."""

    encoding: str
    relative: bool
    layer: int
    magnitude: float


class Mechanisms(Section):
    """How closely an injection is looked at: its heads, its way to the answer, and its side effects."""

    encodings: tuple[EncodingName, ...] | None = Field(
        default=None, min_length=1, description="encodings of curated memories that are looked at (all if not given)"
    )
    prompts: int = Field(
        default=8,
        ge=1,
        description="prompts whose attention heads are patched, drawn at random from those whose answer is more "
        "probable after the explicit prompt",
    )
    others: int = Field(
        default=1,
        ge=1,
        description="other pairs, drawn for each prompt, whose memories are injected into it to see side effects",
    )
    texts: int = Field(default=2, ge=1, description="memories, drawn at random, under which a neutral text is read")
    factors: tuple[float, ...] = Field(
        default=(1.0, 2.0, 4.0),
        min_length=1,
        description="magnitudes of the side effects, as multiples of the chosen site's",
    )

    _check = field_validator("encodings", "factors")(check_list)

    def count_cells(self) -> int:
        """Return the number of cells of a prompt at one site: memories and directions, and one without any."""
        return 1 + (1 + 2 * self.others) * len(self.factors) + len(COMPARED)

    def count_texts(self) -> int:
        """Return how often the neutral text is read at one site."""
        return 1 + 2 * self.texts * len(self.factors)
