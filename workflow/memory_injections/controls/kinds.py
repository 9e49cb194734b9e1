"""Names of controls and of positions, and where controls are computed by a study's config."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from memory_injections.sweeps.grid import check_list
from memory_injections.terms import Count, Encoding, Index, Number, Section

VectorControl = Literal[
    "random_direction", "matched_words", "shuffled", "other_entity", "opposite", "answer", "without_answer"
]
# Controls that are text in front of the prompt, in place of a vector.
TextControl = Literal["in_context", "in_context_description"]
Control = Literal[VectorControl, TextControl]
Position = Literal["all", "without_bos", "last", "description"]
# What stands in for the memory, in words.
LABELS: dict[str, str] = {
    "random_direction": "a random direction of the same length",
    "matched_words": "random words, scaled to the same length",
    "shuffled": "another prompt's memory",
    "other_entity": "the entity in the description",
    "opposite": "the memory with its sign turned",
    "answer": "the answer itself",
    "without_answer": "the memory without what it writes to the answer",
    "in_context": "the memory as text in front of the prompt",
    "in_context_description": "text in front of the prompt that says what the description stands for",
}
TEXT_CONTROLS: tuple[TextControl, ...] = get_args(TextControl)
CONTROLS: tuple[Control, ...] = (*get_args(VectorControl), *TEXT_CONTROLS)
SHUFFLED: VectorControl = "shuffled"
# Controls that are drawn at random, several times for each prompt.
DRAWN: tuple[Control, ...] = ("random_direction", "matched_words", SHUFFLED)
# Where an injection of the paper is added.
EVERYWHERE = "all"
# The parts of a plan.
AT_SITES, AT_POSITIONS, AT_DOSES = "sites", "positions", "doses"


class Site(Section):
    """A site for controls, beside those that the sweep chooses."""

    layer: Index = Field(description="counted from 0")
    magnitude: Number = Field(allow_inf_nan=False, description="as in the sweep: a factor, or a relative dose")


class Controls(Section):
    """What is injected in place of the curated memories, to see whether it is the memory that works."""

    kinds: tuple[Control, ...] = Field(default=CONTROLS, description="which controls; an empty list leaves all out")
    encodings: tuple[Encoding, ...] | None = Field(
        default=None, min_length=1, description="encodings of curated memories that have controls (all if not given)"
    )
    draws: Count = Field(default=2, description="how often what is drawn at random is drawn for each prompt")
    sites: tuple[Site, ...] = Field(
        default=(),
        description="sites `{layer: 6, magnitude: 3}`, beside those that the evidence chooses, the best one by the "
        "paper's average and the paper's own",
    )
    known_ranks: tuple[Count, ...] = Field(
        default=(1, 5, 10),
        min_length=1,
        description="a model knows a hop, or says an answer, if its rank (from 0) is below this; a row for each",
    )
    positions: tuple[Position, ...] = Field(
        default=("without_bos", "last", "description"),
        description="positions to inject at, beside all of them: `without_bos`, `last`, or the tokens of the "
        "`description` that stands for the memory",
    )
    doses: tuple[Annotated[Number, Field(gt=0)], ...] = Field(
        default=(0.01, 0.03, 0.1, 0.3, 1.0, 2.0),
        description="lengths of the injected vector, as shares of the residual stream's, for the dose curve",
    )

    _check = field_validator("kinds", "encodings", "sites", "known_ranks", "positions", "doses")(
        lambda value: check_list(value) if value else value
    )

    def count_cells(self, n_sites: int) -> int:
        """Return the number of cells of a prompt in one encoding, with so many sites; the memories' own among them."""
        vectors = [kind for kind in self.kinds if kind not in TEXT_CONTROLS]
        compared = 1 + (SHUFFLED in vectors)
        at_sites = 1 + sum(self.draws if kind in DRAWN else 1 for kind in vectors)
        return n_sites * at_sites + (len(self.positions) + len(self.doses)) * compared
