"""The registry of figures: which there are, what each is drawn of, and where the report shows it.

A figure is a function in one of `SOURCES` under the decorator `register`. The registry is read from their syntax:
importing them would import the drawing libraries, and every job of the workflow asks for the list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from memory_injections.registry import read_declarations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# What a figure is drawn of: the cells of one sweep; those of all memories of a model, data set and encoding, where
# there are curated and random ones; a model's attention heads on a data set; the history of the paper's numbers; or
# a table of the whole study.
Subject = Literal["sweep", "encoding", "heads", "headline", "study"]
Function = TypeVar("Function", bound=Callable[..., object])
SOURCES = ("injections", "controls", "heads", "mechanisms")


@dataclass(frozen=True)
class RegisteredFigure:
    """A figure's name and module, what it is drawn of, and under which heading and label reports show it.

    `table` names the table that a figure of the whole study is drawn of. `needs` is a column that some tables have no
    values in, such as ranks, which the authors did not publish.
    """

    name: str
    module: str
    subject: Subject
    section: str
    label: str
    table: str | None = None
    needs: str | None = None


def register(
    *, subject: Subject, section: str, label: str, table: str | None = None, needs: str | None = None
) -> Callable[[Function], Function]:
    """Mark a function as a figure of the study; the function's name is the figure's."""
    return lambda function: function


@cache
def list_figures() -> Mapping[str, RegisteredFigure]:
    """The registered figures by name, in the order of the files."""
    found = read_declarations(Path(__file__).parent, SOURCES, register.__name__)
    return {name: RegisteredFigure(name, figure.module, **figure.words) for name, figure in found.items()}


def load_figure(name: str) -> "Callable[[pd.DataFrame], Figure]":
    """The function of a registered figure; only now are the drawing libraries imported."""
    return getattr(import_module(f"memory_injections.figures.{list_figures()[name].module}"), name)
