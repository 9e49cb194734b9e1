"""The controls: what is injected in place of the memory, or stands as text in front of the prompt.

To add one, register a function here or in an installed package (`memory_injections.registry`). Config, schema, tables,
report and explorer then have it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from memory_injections.registry import Registry
from memory_injections.terms import SHUFFLED

# Whoever checks a config asks for the names: what computes is imported only where it is used.
if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from torch import Tensor

# The controls that others are compared with by name.
RANDOM, WORDS, IN_CONTEXT = "random_direction", "matched_words", "in_context"


@dataclass(frozen=True)
class ControlInputs:
    """What controls are made of, in the coordinates of the processed weights: centred where the model has LayerNorm.

    `memory` is the vector B of the prompt's own memory and `source` that of another text, with a row for each layer or
    one for all; `answer` is the answer's column of W_U, and `noise` is drawn from N(0, I).
    """

    memory: 'Float[Tensor, "row d_model"]'
    source: 'Float[Tensor, "row d_model"] | None'
    answer: 'Float[Tensor, " d_model"]'
    noise: 'Float[Tensor, " d_model"]'


@dataclass(frozen=True)
class Draw:
    """One draw of a control for all prompts: its number from 0, the study's seed, and the words of its word list."""

    control: str
    number: int
    seed: int
    words: Sequence[str]

    def seed_all(self) -> int:
        """Return the seed of all draws of the control together."""
        return replace(self, number=0).seed_prompt(0)

    def seed_prompt(self, prompt_id: int) -> int:
        """Return the seed of this draw for one prompt, which depends on nothing else."""
        text = f"{self.seed}|{self.control}|{prompt_id}|{self.number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


Build = Callable[[ControlInputs], 'Float[Tensor, "row d_model"]']
Choose = Callable[["pd.DataFrame", Draw], "pd.Series"]
Write = Callable[[Mapping[str, Any], str | None], str | None]


@dataclass(frozen=True)
class Control:
    """What stands in for a memory: a vector, or a text in front of the prompt.

    - `build` makes the vectors of a control that is injected
    - `choose` gives each prompt pair the other text whose vector is the inputs' `source`, by prompt_id; a
      prompt without one (NaN) lacks the control
    - `is_drawn`: it is drawn at random, several times for each prompt
    - `takes`: which of the inputs it uses that differ between prompts of one memory, or between draws
    - `write` gives the text in front of a pair's obscure prompt, from the pair and its description as the start of a
      sentence, if it is known; None where there is no such text
    """

    name: str
    label: str
    build: Build | None = None
    choose: Choose | None = None
    is_drawn: bool = False
    takes: Sequence[Literal["answer", "noise"]] = ()
    write: Write | None = None


CONTROLS: Registry[Control] = Registry(
    "control", reserved="curated|obscure|explicit|first_hop|without_entity|without_relation"
)


def register_control(
    name: str,
    *,
    label: str,
    choose: Choose | None = None,
    is_drawn: bool = False,
    takes: Sequence[Literal["answer", "noise"]] = (),
) -> Callable[[Build], Build]:
    """Register the function that builds the vectors of a control; see `Control`."""

    def register(function: Build) -> Build:
        CONTROLS.register(Control(name, label, function, choose, is_drawn, takes))
        return function

    return register


def register_text(name: str, *, label: str) -> Callable[[Write], Write]:
    """Register the function that writes the text of a control in front of a prompt; see `Control`."""

    def register(function: Write) -> Write:
        CONTROLS.register(Control(name, label, write=function))
        return function

    return register


def list_text_controls() -> list[str]:
    """List the controls that are texts."""
    return [name for name, control in CONTROLS.items() if control.write is not None]


def match_length(
    vectors: 'Float[Tensor, "#row d_model"]', memory: 'Float[Tensor, "row d_model"]'
) -> 'Float[Tensor, "row d_model"]':
    """Give vectors the lengths of the memory's."""
    import torch

    smallest = torch.finfo(memory.dtype).tiny
    return vectors * (memory.norm(dim=1) / vectors.norm(dim=1).clamp_min(smallest))[:, None]


@register_control("random_direction", label="a random direction of the same length", is_drawn=True, takes=("noise",))
def draw_direction(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """A random direction, with the length of B: not any push."""
    return match_length(parts.noise[None], parts.memory)


def draw_words(pairs: "pd.DataFrame", draw: Draw) -> "pd.Series":
    """Draw a random word for each prompt, which is not the memory; none without a word list."""
    import numpy as np
    import pandas as pd

    from memory_injections.data.entities import identify_entity

    taken: list[str | float] = []
    for pair in pairs[["prompt_id", "memory"]].to_dict("records"):
        first, own = draw.seed_prompt(pair["prompt_id"]), identify_entity(pair["memory"])
        # From the drawn word on, around the list.
        around = (draw.words[(first + step) % len(draw.words)] for step in range(len(draw.words)))
        taken.append(next((word for word in around if identify_entity(word) != own), np.nan))
    return pd.Series(taken, index=pairs["prompt_id"])


@register_control("matched_words", label="random words, scaled to the same length", choose=draw_words, is_drawn=True)
def take_words(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """A random word's vector, with the length of B: content, not dose."""
    assert parts.source is not None
    return match_length(parts.source, parts.memory)


def shuffle_memories(pairs: "pd.DataFrame", draw: Draw) -> "pd.Series":
    """Give each prompt another one's memory, within the same cluster unless that is the memory."""
    from memory_injections.analysis.clusters import MEMORY, cluster_prompts
    from memory_injections.controls.derangements import derange_memories

    groups = cluster_prompts(pairs)
    relations = None if groups.name == MEMORY else groups
    return derange_memories(pairs.set_index("prompt_id")["memory"], relations, draw.seed_all(), draw.number)


@register_control(SHUFFLED, label="another prompt's memory", choose=shuffle_memories, is_drawn=True)
def take_other_memory(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """The vector of another prompt's memory as it is: this entity, not any."""
    assert parts.source is not None
    return parts.source


def name_entities(pairs: "pd.DataFrame", draw: Draw) -> "pd.Series":
    """Name the entity in each description, where the data set says it and it is not the memory."""
    import numpy as np
    import pandas as pd

    from memory_injections.data.entities import identify_entity

    if "entity" not in pairs:
        return pd.Series(np.nan, index=pairs["prompt_id"])
    entities, memories = (pairs.set_index("prompt_id")[name] for name in ("entity", "memory"))
    identities = entities.map(identify_entity)
    return entities.where((identities != "") & (identities != memories.map(identify_entity)))


@register_control("other_entity", label="the entity in the description", choose=name_entities)
def take_entity(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """The vector of the entity that the description names: the second hop's object, not any in the prompt."""
    assert parts.source is not None
    return parts.source


@register_control("opposite", label="the memory with its sign turned")
def turn_around(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """-B: direction."""
    return -parts.memory


@register_control("answer", label="the answer itself", takes=("answer",))
def take_answer(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """The answer's column of W_U, with the length of B: the machinery works."""
    return match_length(parts.answer[None], parts.memory)


@register_control("without_answer", label="the memory without what it writes to the answer", takes=("answer",))
def remove_answer(parts: ControlInputs) -> 'Float[Tensor, "row d_model"]':
    """B without its component along the answer's column of W_U: no direct write to the answer's logit."""
    unit = parts.answer / parts.answer.norm()
    return parts.memory - (parts.memory @ unit)[:, None] * unit


@register_text("in_context", label="the memory as text in front of the prompt")
def name_memory(pair: Mapping[str, Any], description: str | None) -> str:
    """The memory as a sentence of its own."""
    return f"{pair['memory'].strip()}."


@register_text("in_context_description", label="text in front of the prompt that says what the description stands for")
def resolve_description(pair: Mapping[str, Any], description: str | None) -> str | None:
    """A sentence that says of what the obscure prompt describes that it is the memory."""
    return None if description is None else f"{description} is {pair['memory'].strip()}."
