"""What the commands take: their common arguments, parsed and checked before a model is loaded."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from memory_injections.data.entities import identify_entity
from memory_injections.errors import StudyError
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.terms import LARGEST_NUMBER, expand_home

DEFAULT_ENCODING = "unembed"
DEFAULT_MODEL = "smollm2-135m"  # the name of `pretrained.DEFAULT`
_PROMPT = typer.Argument(help="The text that the model continues.", show_default=False)
_MEMORY = typer.Argument(help="What the model is reminded of.", show_default=False)
Prompt = Annotated[str, _PROMPT]
Memory = Annotated[str, _MEMORY]
# Where a file of pairs can stand in their place.
OptionalPrompt = Annotated[str | None, _PROMPT]
OptionalMemory = Annotated[str | None, _MEMORY]
Encoding = Annotated[str, typer.Option(help="How the memory becomes a vector; a wrong name lists all.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
ModelName = Annotated[
    str, typer.Option("--model", help="An entry of the default study, a local folder, or a repository on the hub.")
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to compute: cpu, cuda or cuda:1. [default: a GPU if there is one]"),
]
Other = Annotated[
    str | None,
    typer.Option("--other", help="Another memory, as a control. [default: Don Quixote]", show_default=False),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_NUMBER, help="Seed of the random numbers.")]


def _expand_home(path: Path | None) -> Path | None:
    return path and Path(expand_home(str(path)))


def _file_option(name: str, text: str) -> Any:
    return typer.Option(name, help=text, show_default=False, callback=_expand_home)


Save = Annotated[Path | None, _file_option("--save", "A file for the whole table: .csv or .parquet.")]
Plot = Annotated[Path | None, _file_option("--plot", "A file for the map: .png, .pdf or .svg.")]
Pairs = Annotated[Path | None, _file_option("--pairs", "A CSV file of prompt pairs, in place of PROMPT and MEMORY.")]
# Memories to compare with where none is given; the second is for questions about the first.
OTHERS = ("Don Quixote", "Joan of Arc")
# Numbers in a range, which a mistyped one exceeds.
LONGEST_RANGE = 10_000


def choose_other(other: str | None, memory: str) -> str:
    """Return the memory to compare with: the one that was given, or one that is not the memory itself."""
    if other is not None:
        return other
    return next(text for text in OTHERS if identify_entity(text) != identify_entity(memory))


def check_texts(encoding: str, **texts: str | None) -> None:
    """Raise `StudyError` for an encoding that does not exist, and for a text that is empty or not in UTF-8."""
    ENCODINGS.check(encoding)
    for name, text in texts.items():
        if text is not None and not text.strip():
            raise StudyError(f"the {name} is empty; give a text")
        # Of other bytes than UTF-8, Python makes characters that stand alone for half of one.
        if re.search("[\ud800-\udfff]", text or ""):
            raise StudyError(f"the {name} {text!r} is not text in UTF-8; write it in UTF-8, as this terminal should")


def parse_numbers(what: str, text: str, number: type[float] = float) -> list[float]:
    """Parse numbers such as `0.5,2`, and ranges of whole numbers such as `1..15`, both ends included."""
    numbers: list[float] = []
    for part in text.split(","):
        if ends := re.fullmatch(r"\s*(-?\d+)\.\.(-?\d+)\s*", part):
            first, last = (int(parse_number(what, end, int)) for end in ends.groups())
            if last - first >= LONGEST_RANGE:
                raise StudyError(f"{what} {part} is a range of more than {LONGEST_RANGE:,} numbers; give a shorter one")
            numbers.extend(parse_number(what, str(value), number) for value in range(first, last + 1))
        else:
            numbers.append(parse_number(what, part, number))
    if not numbers:
        raise StudyError(f"{what} {text} is an empty range; write the smaller number first")
    return numbers


def parse_number(what: str, text: str, number: type[float] = float) -> float:
    try:
        return number(text)
    except (ValueError, OverflowError):
        kind = "whole number" if number is int else "finite number"
        raise StudyError(f"{what} {text!r} is not a {kind}; give one, several (1,4) or a range (1..15)") from None


def parse_layers(text: str) -> list[int] | None:
    """Parse layers; None stands for all of them."""
    return None if text == "all" else [int(layer) for layer in parse_numbers("layer", text, int)]
