"""Prompt pairs from the questions of 2WikiMultiHopQA, in the authors' wording (paper, section 3.1).

A compositional question rests on two facts, ["Lilli's Marriage", "director", "Jaap Speyer"] and ["Jaap Speyer",
"country of citizenship", "Dutch"]. The explicit prompt asks for the second by its subject's name, the obscure
prompt by way of the first. docs/2wmh.md says how the
wording was found and how closely it reproduces the authors' file.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel, ValidationError, field_validator

from memory_injections.data.characters import has_text
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)
# What stands before and after the entity; other relations are asked for as "The mother of X is".
WORDING = {
    "award received": ("", " received the"),
    "educated at": ("", " was educated at"),
    "founded by": ("The ", " was founded by"),
    "inception": ("The inception of ", " was in"),
}
FIELDS = ("type", "evidences", "answer")
Fact = tuple[str, str, str]


class Question(BaseModel):
    """The fields that are read of a compositional record. Some copies of the data store the facts as JSON text."""

    evidences: list[Fact]
    answer: str

    @field_validator("evidences", mode="before")
    @classmethod
    def _facts_in_json_text(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def has_two_facts(self) -> bool:
        """Whether the question can be asked in two hops: two facts, and no text missing."""
        texts = [self.answer, *(text for fact in self.evidences for text in fact)]
        return len(self.evidences) == 2 and all(map(has_text, texts))


class Pair(NamedTuple):
    """A prompt pair; `entity` is the one that the obscure prompt names, to describe the memory."""

    explicit_prompt: str
    obscure_prompt: str
    memory: str
    answer: str
    entity: str


def verbalise(first: Fact, second: Fact, answer: str) -> Pair:
    """Put the two facts of a question into a prompt pair.

    The entity has the name that it has in the second fact, which is not always that of the first. Texts are copied
    from the facts unchanged; only spaces around the memory are removed.
    """
    entity, relation, _ = second
    before, after = WORDING.get(relation, (f"The {relation} of ", " is"))
    obscure = f"{before}the {first[1]} of {first[0]}{after}"
    return Pair(f"{before}{entity}{after}", obscure[0].upper() + obscure[1:], entity.strip(), answer, first[0])


def list_pairs(records: Iterable[Any], source: str) -> list[Pair]:
    """List the prompt pairs of all compositional questions with two facts, each once.

    Raises `StudyError` for a record that is not one of 2WikiMultiHopQA; `source` names the file.
    """
    pairs, without = [], 0
    for number, record in enumerate(records):
        where = f"{source}: record {number} (counted from 0)"
        if not isinstance(record, dict) or "type" not in record:
            raise StudyError(f"{where} has no field type; give a file of 2WikiMultiHopQA")
        if record["type"] != "compositional":
            continue
        try:
            question = Question.model_validate(record)
        except ValidationError as error:
            details = error.errors(include_url=False)[0]
            field, problem = ".".join(map(str, details["loc"])), details["msg"][0].lower() + details["msg"][1:]
            raise StudyError(f"{where}, field {field}: {problem}; give a file of 2WikiMultiHopQA") from None
        if question.has_two_facts():
            first, second = question.evidences
            pairs.append(verbalise(first, second, question.answer))
        else:
            without += 1
    if without:
        logger.warning("%s: left out %d compositional questions without two whole facts", source, without)
    return list(dict.fromkeys(pairs))


def sample_pairs(pairs: Iterable[Pair], size: int, seed: int, source: str) -> pd.DataFrame:
    """Draw `size` pairs by the seed; a smaller sample is the beginning of a larger one.

    A pair's place depends on the seed and on its prompts, memory and answer, not on the order of the records or on
    their file format. Raises `StudyError` if there are too few.
    """
    ordered = sorted(pairs, key=lambda pair: hashlib.sha256("\0".join([str(seed), *pair[:-1]]).encode()).digest())
    if size > len(ordered):
        raise StudyError(f"{source} gives {len(ordered)} prompt pairs, but the config asks for {size}; lower `size`")
    return pd.DataFrame(ordered[:size], columns=list(Pair._fields))
