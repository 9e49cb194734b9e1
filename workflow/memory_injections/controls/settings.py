"""How a study's config wants controls computed: which, at which sites, positions and doses."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, field_validator

from memory_injections.controls.kinds import CONTROLS, SHUFFLED
from memory_injections.sweeps.grid import EncodingName, check_list
from memory_injections.terms import AnswerPositions, Count, Index, Late, Number, Section, make_default

ControlName = Annotated[str, Late(lambda: Literal[tuple(CONTROLS)])]
Position = Literal["all", "without_bos", "last", "description"]
# Where an injection of the paper is added.
EVERYWHERE = "all"
# The parts of a plan.
AT_SITES, AT_POSITIONS, AT_DOSES = "sites", "positions", "doses"


class Answers(Section):
    """How whole answers are scored, and which are written."""

    positions: AnswerPositions = Field(
        default="prompt",
        description="where memories are added when a whole answer is scored or written: at the `prompt`'s positions "
        "only, or at `all`, the answer's among them",
    )
    write: StrictBool = Field(
        default=True,
        description="whether the model writes answers, greedily: after the prompts alone and, at the sites that the "
        "evidence chooses, under curated and shuffled memories",
    )


class ControlSite(Section):
    """A site for controls, beside those that the sweep chooses."""

    layer: Index = Field(description="counted from 0")
    magnitude: Number = Field(allow_inf_nan=False, description="as in the sweep: a factor, or a relative dose")
    relative: bool = Field(default=False, description="whether the magnitude is a relative dose")


class Controls(Section):
    """What is injected in place of the curated memories, to see whether it is the memory that works."""

    kinds: tuple[ControlName, ...] = make_default(
        lambda: tuple(CONTROLS), "which controls; an empty list leaves all out"
    )
    encodings: tuple[EncodingName, ...] | None = Field(
        default=None,
        min_length=1,
        description="encodings that have controls at sites of their own (all if not given); the sites that are "
        "chosen among all encodings always have them",
    )
    draws: Count = Field(default=2, description="how often what is drawn at random is drawn for each prompt")
    shuffles: Count | Literal["all"] = Field(
        default=8,
        description="how many other prompts' memories stand in for each memory, out of all that there are; `all` is as "
        "many cells at each site as the square of the number of prompts",
    )
    sites: tuple[ControlSite, ...] = Field(
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

    def count_draws(self, kind: str, n_prompts: int) -> int:
        """Return how often a control is drawn for each of so many prompts, at most."""
        if kind == SHUFFLED:
            return n_prompts - 1 if self.shuffles == "all" else min(self.shuffles, n_prompts - 1)
        return self.draws if CONTROLS[kind].is_drawn else 1

    def count_cells(self, n_sites: int, n_prompts: int) -> int:
        """Return the number of cells of a prompt in one encoding, with so many sites; the memories' own among them."""
        compared = 1 + (SHUFFLED in self.kinds)
        at_sites = 1 + sum(self.count_draws(kind, n_prompts) for kind in self.kinds if CONTROLS[kind].build)
        return n_sites * at_sites + (len(self.positions) + len(self.doses)) * compared
