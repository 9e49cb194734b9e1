"""The registry of figures: which there are, what each is drawn of, and where the report shows it.

A figure is a function under the decorator `register_figure`, in one of `SOURCES` or in an installed package. The
registry is read from their syntax: importing them would import the drawing libraries, and every job of the workflow
asks for the list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from memory_injections.registry import Declared, read_declarations

# What a figure is drawn of: the cells of one sweep; those of all memories of a model, data set and encoding, where
# there are curated and random ones; a model's attention heads on a data set; the history of the paper's numbers; or
# a table of the whole study.
Subject = Literal["sweep", "encoding", "heads", "headline", "study"]
Function = TypeVar("Function", bound=Callable[..., object])
SOURCES = ("injections", "controls", "heads", "mechanisms")


@dataclass(frozen=True)
class RegisteredFigure(Declared):
    """A figure, whose name is the function's: what it is drawn of, and under which heading and label reports show it.

    `table` names the table that a figure of the whole study is drawn of. `needs` is a column that some tables have no
    values in, such as ranks, which the authors did not publish.
    """

    subject: Subject
    section: str
    label: str
    table: str | None = None
    needs: str | None = None


def register_figure(
    *, subject: Subject, section: str, label: str, table: str | None = None, needs: str | None = None
) -> Callable[[Function], Function]:
    """Mark a function as a figure of the study; the function's name is the figure's."""
    return lambda function: function


@cache
def list_figures() -> Mapping[str, RegisteredFigure]:
    """The registered figures by name, in the order of the files, those of installed packages last."""
    files = {f"{__package__}.{source}": Path(__file__).with_name(f"{source}.py") for source in SOURCES}
    return read_declarations(RegisteredFigure, register_figure.__name__, files)
