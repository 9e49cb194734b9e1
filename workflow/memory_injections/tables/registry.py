"""The registry of tables: which jobs make them, what each job reads, and what reports call the tables.

A job is a function in one of `SOURCES` under the decorator `register`. It gets the paths of its inputs and the values
of its settings by name, and returns its tables by name, or the only one. The registry is read from their syntax, as
that of figures is: what the functions import would slow down every start of the workflow.
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

# Part of a study that can be missing: the models in a re-analysis, controls and mechanisms where they are off.
StudyPart = Literal["models", "controls", "mechanisms"]
Function = TypeVar("Function", bound=Callable[..., object])
SOURCES = ("prompts", "heads", "sites", "paper", "controls", "mechanisms")


@dataclass(frozen=True)
class TableJob:
    """A job that makes tables: its name, which is the function's, and the module of the function.

    - `tables`: the label of each table in Snakemake's own report, by name; None for one that it does not show
    - `reads`: names of its inputs, whose paths the workflow knows
    - `takes`: names of settings
    - `part`: the part of a study without which there are no such tables; None if every study has them
    - `is_quick`: whether it takes about a second, and runs where Snakemake runs
    - `priority`: of jobs that are ready, those with the highest run first
    """

    name: str
    module: str
    tables: Mapping[str, str | None]
    reads: tuple[str, ...]
    takes: tuple[str, ...] = ()
    part: StudyPart | None = None
    is_quick: bool = True
    priority: int = 0


def register(
    tables: Mapping[str, str | None],
    *,
    reads: tuple[str, ...],
    takes: tuple[str, ...] = (),
    part: StudyPart | None = None,
    is_quick: bool = True,
    priority: int = 0,
) -> Callable[[Function], Function]:
    """Mark a function as a job that makes tables; see `TableJob`."""
    return lambda function: function


@cache
def list_table_jobs() -> Mapping[str, TableJob]:
    """The registered jobs by name, in the order of the files."""
    found = read_declarations(Path(__file__).parent, SOURCES, register.__name__)
    return {name: TableJob(name, job.module, *job.arguments, **job.words) for name, job in found.items()}


def load_table_job(name: str) -> "Callable[..., pd.DataFrame | Mapping[str, pd.DataFrame]]":
    """The function of a registered job; only now is what it needs imported."""
    return getattr(import_module(f"memory_injections.tables.{list_table_jobs()[name].module}"), name)
