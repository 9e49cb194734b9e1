"""The registry of tables: which jobs make them, what each job reads, and what reports call the tables.

A job is a function under the decorator `register_table`, in one of `SOURCES` or in an installed package. It gets the
paths of its inputs and the values of its settings by name, and returns its tables by name, or the only one. The
registry is read from their syntax, as that of figures is: what the functions import would slow down every start of the
workflow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from memory_injections.errors import DeclarationError
from memory_injections.registry import Declared, read_declarations

# Part of a study that can be missing: the models in a re-analysis, controls and mechanisms where they are off, a
# population where all prompts count, and groups of prompts where none are named.
StudyPart = Literal["models", "controls", "mechanisms", "population", "groups"]
Value = TypeVar("Value")
Function = TypeVar("Function", bound=Callable[..., object])
SOURCES = ("prompts", "heads", "sites", "groups", "paper", "controls", "mechanisms")


@dataclass(frozen=True)
class TableJob(Declared):
    """A job that makes tables; its name is the function's.

    - `tables`: the label of each table in Snakemake's own report, by name; None for one that it does not show
    - `reads`: names of its inputs, whose paths the workflow knows
    - `takes`: names of settings
    - `part`: the part of a study without which there are no such tables; None if every study has them
    - `is_quick`: whether it takes about a second, and runs where Snakemake runs
    - `priority`: of jobs that are ready, those with the highest run first
    """

    tables: Mapping[str, str | None]
    reads: tuple[str, ...]
    takes: tuple[str, ...] = ()
    part: StudyPart | None = None
    is_quick: bool = True
    priority: int = 0

    def pick(self, known: Mapping[str, Value], names: Sequence[str], what: str) -> dict[str, Value]:
        """Return the values of some names out of those that the workflow knows.

        Raises `DeclarationError` for a name that it does not know; `what` says what the job does with it.
        """
        for name in names:
            if name not in known:
                raise DeclarationError(
                    f"the table job {self.module}.{self.name} {what} {name!r}, which no study has; name some of "
                    f"{', '.join(sorted(known))}"
                )
        return {name: known[name] for name in names}


def register_table(
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
    """The registered jobs by name, in the order of the files, those of installed packages last.

    Raises `DeclarationError` for a table that two jobs make.
    """
    files = {f"{__package__}.{source}": Path(__file__).with_name(f"{source}.py") for source in SOURCES}
    jobs = read_declarations(TableJob, register_table.__name__, files)
    makers: dict[str, TableJob] = {}
    for job in jobs.values():
        for table in job.tables:
            if table in makers:
                places = " and ".join(f"{one.module}.{one.name}" for one in (makers[table], job))
                raise DeclarationError(f"the table {table!r} is made twice, by {places}; rename one of them")
            makers[table] = job
    return jobs
