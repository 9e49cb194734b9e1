"""The authors' published per-prompt results, read into our cell table.

There is one file for each magnitude, with one row for each prompt and one column for each layer:

- `experiments/tweak_factor_analysis/<data>/<model>/<hook>/tweak_<magnitude>.csv`: curated memories, the hook is the
  encoding
- `experiments/part_of_speech_tweak_factor_injections/pos_results/<model>/<data>/<column>/*_<magnitude>.csv`: random
  memories of a part of speech in the unembed encoding, with the injected word beside each probability
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.paper.published_sources import CURATED_RESULTS, RANDOM_RESULTS
from memory_injections.sweeps.cells import SCHEMA
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED

logger = logging.getLogger(__name__)
ENCODINGS = {
    "memory_tweaker_unembed_head_hook": "unembed",
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
P_INJECTED = re.compile(r"ans_prob_obs_edit_layer(\d+)")
MEMORY = "injected_memory_layer_{}"
TOP_TOKENS = "topk_tok_obs_edit_layer{}"
MAGNITUDE = re.compile(r"_(-?\d+(?:\.\d+)?)\.csv")


def find_sweeps(root: Path) -> dict[SweepId, Path]:
    """Find the folder of every sweep below `root`; raise `StudyError` if there is none."""
    found = {}
    for folder in _list_result_folders(root / CURATED_RESULTS):
        # A model's folder may lie within a folder of its organisation.
        data, *_, model, hook = folder.relative_to(root / CURATED_RESULTS).parts
        if hook in ENCODINGS:
            found[SweepId(_translate_name(model), _translate_name(data), CURATED, ENCODINGS[hook])] = folder
        else:
            logger.warning("ignoring %s: %s is not the name of an encoding", folder, hook)
    for folder in _list_result_folders(root / RANDOM_RESULTS):
        *_, model, data, column = folder.relative_to(root / RANDOM_RESULTS).parts
        found[SweepId(_translate_name(model), _translate_name(data), _translate_name(column), "unembed")] = folder
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


def _translate_name(name: str) -> str:
    return OUR_NAMES.get(name, name)


def iterate_cells(sweep: SweepId, folder: Path) -> Iterator[pd.DataFrame]:
    """Read the cells of one sweep from the folder of its files, one file, which is one magnitude, at a time.

    The columns are those of `cells.SCHEMA`. What the authors did not publish (ranks, KL, the text of the top token) is
    missing. Raises `StudyError` for a file that is not theirs.
    """
    files: dict[float, Path] = {}
    for path in sorted(folder.glob("*.csv")):
        name = MAGNITUDE.search(path.name)
        if name is None:
            raise StudyError(f"file {path} has no magnitude at the end of its name; remove it from the results")
        if files.setdefault(float(name[1]), path) != path:
            raise StudyError(f"files {files[float(name[1])]} and {path} are of the same magnitude; remove one")
    for magnitude, path in sorted(files.items()):
        yield _read_cells(read_csv(path), sweep, magnitude, path)


def _read_cells(table: pd.DataFrame, sweep: SweepId, magnitude: float, path: Path) -> pd.DataFrame:
    layers = sorted(int(name[1]) for name in map(P_INJECTED.fullmatch, table.columns) if name)
    needed = ["answer_prob_exp", "answer_prob_obs", "explicit_entity"]
    if sweep.memories != CURATED:
        needed += [MEMORY.format(layer) for layer in layers]
    missing = [name for name in needed if name not in table.columns] if layers else [P_INJECTED.pattern]
    if missing:
        raise StudyError(f"file {path} has no column {missing[0]}; it is not a result of the authors: remove it")
    by_layer = [
        pd.DataFrame(
            {
                "prompt_id": range(len(table)),
                "layer": layer,
                "memory": table[needed[2] if sweep.memories == CURATED else MEMORY.format(layer)],
                "p_explicit": _read_probabilities(table, "answer_prob_exp", path),
                "p_obscure": _read_probabilities(table, "answer_prob_obs", path),
                "p_injected": _read_probabilities(table, f"ans_prob_obs_edit_layer{layer}", path),
                "top_token_id": _read_top_tokens(table, TOP_TOKENS.format(layer)),
            }
        )
        for layer in layers
    ]
    constant = {**sweep.columns, "magnitude": magnitude, "top_token": None}
    cells = pd.concat(by_layer).assign(**constant)
    with np.errstate(divide="ignore"):
        cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    return cells.sort_values(["prompt_id", "layer"]).reindex(columns=SCHEMA.names)


def _read_probabilities(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
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
