"""What the authors' published files cover: which of them can be used, what is missing, and what they score.

A file of another length than its data set would mix different sets of prompts, so it is left out of its sweep.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.paper.published import (
    P_INJECTED,
    TOP_TOKENS,
    find_sweeps,
    list_layers,
    list_magnitudes,
    read_layers,
    read_magnitude,
    read_probabilities,
    require_columns,
)
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId

# How many of the most probable tokens the files list for each cell.
N_TOP = 30
# With fewer different answers, some frequent token may be among the most probable ones everywhere by chance.
MIN_ANSWERS = 10
COLUMNS = [
    *ID_COLUMNS, "n_files", "magnitudes", "missing", "n_layers", "n_prompts", "left_out", "scored_token", "flag"
]  # fmt: skip


class SweepFiles(TypedDict):
    """The authors' files of one sweep: those that can be used, by magnitude, and why others cannot.

    `n_prompts` is the number of rows of every file that is used.
    """

    used: list[str]
    left_out: dict[str, str]
    n_prompts: int


def survey_files(root: Path) -> dict[SweepId, SweepFiles]:
    """List the files of every sweep below `root`, and leave out those of another length than their data set.

    The length of a data set is that of most of its files, and the larger one on a tie. Raises `StudyError` if there is
    no sweep, or none with a file to use.
    """
    folders = find_sweeps(root)
    rows = {sweep: {path: count_rows(path) for path in list_magnitudes(folders[sweep]).values()} for sweep in folders}
    lengths: dict[str, Counter[int]] = {}
    for sweep, files in rows.items():
        lengths.setdefault(sweep.dataset, Counter()).update(n for n, is_whole in files.values() if is_whole and n)
    surveyed: dict[SweepId, SweepFiles] = {}
    for sweep, files in sorted(rows.items()):
        n_prompts, _ = max(lengths[sweep.dataset].items(), key=lambda item: item[::-1], default=(0, 0))
        faults = {str(path): _describe_fault(n, is_whole, n_prompts) for path, (n, is_whole) in files.items()}
        surveyed[sweep] = {
            "used": [path for path, fault in faults.items() if not fault],
            "left_out": {path: fault for path, fault in faults.items() if fault},
            "n_prompts": n_prompts,
        }
    if not any(files["used"] for files in surveyed.values()):
        raise StudyError(f"folder {root} has no whole file of the authors' results; fetch or copy it again")
    return surveyed


def count_rows(path: Path) -> tuple[int, bool]:
    """Count the rows of a CSV file up to the first that is not whole; return with it whether all rows are whole.

    A row is whole if it has as many fields as the header and, the last one, an end of line.
    """
    n_rows = 0
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            n_fields = len(next(rows, []))
            for row in rows:
                if len(row) != n_fields:
                    return n_rows, False
                n_rows += 1
        except csv.Error:  # such as the end of the file within quotation marks
            return n_rows, False
    with path.open("rb") as file:
        file.seek(-min(1, path.stat().st_size), 2)
        is_ended = file.read() in (b"\n", b"")
    return (n_rows, True) if is_ended else (max(n_rows - 1, 0), False)


def _describe_fault(n_rows: int, is_whole: bool, n_prompts: int) -> str:
    """Say why a file cannot be used; an empty text if it can."""
    if not is_whole:
        return f"row {n_rows} (counted from 0) is not whole"
    if n_rows != n_prompts:
        return f"{n_rows} rows of {n_prompts}"
    return "" if n_rows else "no rows"


def build_coverage(sweeps: Mapping[SweepId, SweepFiles], grid: Sequence[float]) -> pd.DataFrame:
    """List what the files of every sweep cover.

    Columns: the sweep's identity; n_files, those that are used; their magnitudes; the magnitudes of `grid` that are
    missing; n_layers and n_prompts; left_out, the other files with the reason; scored_token, the token that is scored
    for every prompt (see `find_scored_token`; missing where answers are); flag, why the sweep is no measurement of
    answers (a sentence; empty where all is well).
    """
    rows = [_cover_sweep(sweep, files, grid) for sweep, files in sorted(sweeps.items())]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"scored_token": "Int64"})


def _cover_sweep(sweep: SweepId, files: SweepFiles, grid: Sequence[float]) -> dict[str, Any]:
    paths = [Path(path) for path in files["used"]]
    magnitudes = [read_magnitude(path) for path in paths]
    token = find_scored_token(paths)
    flag = "" if paths else "none of its files can be used"
    if token is not None:
        flag = f"the probabilities are those of token {token} for every prompt, not of the answers"
    return {
        **sweep.columns,
        "n_files": len(paths),
        "magnitudes": list_ranges(magnitudes),
        "missing": list_ranges(magnitude for magnitude in grid if magnitude not in magnitudes),
        "n_layers": len({layer for path in paths for layer in read_layers(path)}),
        "n_prompts": files["n_prompts"],
        "left_out": "; ".join(f"{Path(path).name}: {fault}" for path, fault in files["left_out"].items()),
        "scored_token": token,
        "flag": flag,
    }


def find_scored_token(files: Iterable[Path]) -> int | None:
    """Find the one token that a sweep scores for every prompt; None if it scores answers, as far as its files tell.

    A token whose probability is above 1/30 is among the 30 most probable ones, which the files list. If the
    probabilities are those of the answers, no token is in all these lists; if they are of one token, only that one is.
    """
    common: set[str] | None = None
    answers: set[str] = set()
    for path in files:
        table = read_csv(path)
        require_columns(table, ["answer"], path)
        for layer in list_layers(table.columns):
            if TOP_TOKENS.format(layer) not in table.columns:
                continue
            is_listed = read_probabilities(table, P_INJECTED.format(layer), path) > 1 / N_TOP
            answers.update(table.loc[is_listed, "answer"])
            for tokens in table.loc[is_listed, TOP_TOKENS.format(layer)].str.findall(r"\d+"):
                common = set(tokens) if common is None else common.intersection(tokens)
        if common is not None and not common:
            return None
    is_one = common is not None and len(common) == 1 and len(answers) >= MIN_ANSWERS
    return int(common.pop()) if common and is_one else None


def list_ranges(numbers: Iterable[float]) -> str:
    """Write numbers as text, three and more successive whole ones as a range: `1-4, 6, 7.5`."""
    runs: list[list[float]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [[f"{run[0]:g}-{run[-1]:g}"] if len(run) > 2 else [f"{number:g}" for number in run] for run in runs]
    return ", ".join(part for run in parts for part in run)


def read_flags(coverage: pd.DataFrame) -> dict[SweepId, str]:
    """Return the flag of every sweep that has one, from the table of `build_coverage`, also as read from a file."""
    flagged = coverage[coverage["flag"].fillna("") != ""]
    return {SweepId(*row[:-1]): row[-1] for row in flagged[[*ID_COLUMNS, "flag"]].itertuples(index=False, name=None)}
