"""The authors' published per-prompt results, read into our cell table.

There is one file for each magnitude, with one row for each prompt and one column for each layer:

- `experiments/tweak_factor_analysis/<data>/<model>/<hook>/tweak_<magnitude>.csv`: curated memories, the hook is the
  encoding
- `experiments/part_of_speech_tweak_factor_injections/pos_results/<model>/<data>/<column>/*_<magnitude>.csv`: random
  memories of a part of speech in the unembed encoding, with the injected word beside each probability

`coverage` says which of these files can be used.
"""

import csv
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.paper.published_sources import CURATED_RESULTS, RANDOM_RESULTS
from memory_injections.sweeps.cells import SCHEMA
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, PAPER_ENCODING

logger = logging.getLogger(__name__)
ENCODINGS = {
    "memory_tweaker_unembed_head_hook": PAPER_ENCODING,
    "memory_tweaker_embed_head_hook": "embed",
    "memory_layer_encoding_hook": "layer",
}
OUR_NAMES = {
    "gpt2-small": "gpt2",
    "gpt-neo-125M": "gpt-neo-125m",
    "gpt-j-6B": "gpt-j-6b",
    "Llama-2-7b-hf": "llama-2-7b",
    "Llama-2-7b-chat-hf": "llama-2-7b-chat",
    "data": "hand",
    "multi_1000": "2wmh",
    "top_5000": "top_5000_words",
}
P_INJECTED = "ans_prob_obs_edit_layer{}"
MEMORY = "injected_memory_layer_{}"
TOP_TOKENS = "topk_tok_obs_edit_layer{}"
NAME_OF_FILE = re.compile(r".*_(-?\d+(?:\.\d+)?)\.csv")


def find_sweeps(root: Path) -> dict[SweepId, Path]:
    """Find the folder of every sweep below `root`; raise `StudyError` if there is none."""
    found = {}
    for folder in _list_result_folders(root / CURATED_RESULTS):
        # A model's folder may lie within a folder of its organisation.
        data, *_, model, hook = folder.relative_to(root / CURATED_RESULTS).parts
        if hook in ENCODINGS:
            found[SweepId(translate_name(model), translate_name(data), CURATED, ENCODINGS[hook])] = folder
        else:
            logger.warning("ignoring %s: %s is not the name of an encoding", folder, hook)
    for folder in _list_result_folders(root / RANDOM_RESULTS):
        *_, model, data, column = folder.relative_to(root / RANDOM_RESULTS).parts
        found[SweepId(translate_name(model), translate_name(data), translate_name(column), PAPER_ENCODING)] = folder
    if not found:
        raise StudyError(
            f"folder {root} has no results of the authors ({CURATED_RESULTS}/<data>/<model>/<hook>/*.csv or "
            f"{RANDOM_RESULTS}/<model>/<data>/<column>/*.csv); give the root of a copy of their repository"
        )
    return found


def _list_result_folders(root: Path) -> list[Path]:
    """List the folders below `root` that hold results, at least three levels deep."""
    folders = sorted({path.parent for path in root.rglob("*.csv")})
    return [folder for folder in folders if len(folder.relative_to(root).parts) >= 3]


def translate_name(name: str) -> str:
    """Return this project's name of a model, a data set or a kind of memory of the authors."""
    return OUR_NAMES.get(name, name)


def list_magnitudes(folder: Path) -> dict[float, Path]:
    """List the files of one sweep by magnitude; raise `StudyError` for a file that is not theirs."""
    files: dict[float, Path] = {}
    for path in sorted(folder.glob("*.csv")):
        magnitude = read_magnitude(path)
        if files.setdefault(magnitude, path) != path:
            raise StudyError(f"files {files[magnitude]} and {path} are of the same magnitude; remove one")
    return dict(sorted(files.items()))


def read_magnitude(path: Path) -> float:
    """Return the magnitude at the end of a file's name."""
    name = NAME_OF_FILE.fullmatch(path.name)
    if name is None:
        raise StudyError(f"file {path} has no magnitude at the end of its name; remove it from the results")
    return float(name[1])


def list_layers(columns: Iterable[str]) -> list[int]:
    """List the layers that a file has probabilities for, given its columns."""
    names = (re.fullmatch(P_INJECTED.format(r"(\d+)"), column) for column in columns)
    return sorted(int(name[1]) for name in names if name)


def read_layers(path: Path) -> list[int]:
    """List the layers that a file has probabilities for; reads its first row only."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return list_layers(next(csv.reader(file), []))


def iterate_cells(sweep: SweepId, files: Iterable[Path]) -> Iterator[pd.DataFrame]:
    """Read the cells of one sweep, one file, which is one magnitude, at a time.

    The columns are those of `cells.SCHEMA`. What the authors did not publish (ranks, KL, the text of the top token) is
    missing. Raises `StudyError` for a file that is not theirs.
    """
    for path in files:
        yield _read_cells(read_csv(path), sweep, path)


def _read_cells(table: pd.DataFrame, sweep: SweepId, path: Path) -> pd.DataFrame:
    layers = list_layers(table.columns)
    needed = ["answer_prob_exp", "answer_prob_obs", "explicit_entity"]
    if sweep.memories != CURATED:
        needed += [MEMORY.format(layer) for layer in layers]
    require_columns(table, needed if layers else [P_INJECTED.format("<layer>")], path)
    by_layer = [
        pd.DataFrame(
            {
                "prompt_id": range(len(table)),
                "layer": layer,
                "memory": table[needed[2] if sweep.memories == CURATED else MEMORY.format(layer)],
                "p_explicit": read_probabilities(table, "answer_prob_exp", path),
                "p_obscure": read_probabilities(table, "answer_prob_obs", path),
                "p_injected": read_probabilities(table, P_INJECTED.format(layer), path),
                "top_token_id": _read_top_tokens(table, TOP_TOKENS.format(layer)),
            }
        )
        for layer in layers
    ]
    constant = {**sweep.columns, "magnitude": read_magnitude(path), "top_token": None}
    cells = pd.concat(by_layer).assign(**constant)
    with np.errstate(divide="ignore"):
        cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    return cells.sort_values(["prompt_id", "layer"]).reindex(columns=SCHEMA.names)


def require_columns(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise `StudyError` for the first column that the table of a file does not have."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"file {path} has no column {missing[0]}; it is not a result of the authors: remove it")


def read_probabilities(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """Return a column of probabilities as numbers; raise `StudyError` for anything else in it."""
    try:
        numbers = pd.to_numeric(table[column])
    except ValueError as error:
        raise StudyError(f"file {path}: column {column} holds something else than numbers ({error})") from None
    if not numbers.between(0, 1).all():
        raise StudyError(f"file {path}: column {column} holds something else than probabilities; repair the file")
    return numbers


def _read_top_tokens(table: pd.DataFrame, column: str) -> pd.Series:
    """Return the most probable token after the injection: the first number of a list that was printed as text."""
    if column not in table.columns:
        return pd.Series(pd.NA, index=table.index, dtype="Int32")
    return table[column].str.extract(r"(\d+)", expand=False).astype("Int32")
