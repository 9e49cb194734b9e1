"""The authors' random words at one site: which layer their files belong to.

`experiments/fake_injections/**/<model>_<data>_fake_inject_layer<label>_tweak<magnitude>_<column>.csv` has a row for
each prompt and a column for each of some forty words of a part of speech. Its label of the layer may be counted from
0 or from 1. The sweeps of random memories say: where they injected one of these words, the probabilities must agree.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.paper.coverage import count_rows
from memory_injections.paper.published import read_probabilities, translate_name
from memory_injections.paper.published_sources import WORD_RESULTS
from memory_injections.paper.scorecard import TOLERANCE
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import PAPER_ENCODING

logger = logging.getLogger(__name__)
NAME_OF_FILE = re.compile(
    r"(?P<model>.+)_(?P<data>[^_]+)_fake_inject_layer(?P<label>\d+)_tweak(?P<magnitude>\d+(?:\.\d+)?)_(?P<column>.+)\.csv"
)
P_OF_WORD = "ans_prob_obs_edit_subject_"
# Layers that are compared, relative to the label.
CANDIDATES = (-2, -1, 0, 1)
COLUMNS = [
    "file", "model", "dataset", "memories", "label", "magnitude", "n_prompts", "n_words", "layer", "n_shared",
    "n_agree", "share_elsewhere", "curated_layer", "finding",
]  # fmt: skip
CELLS = ["prompt_id", "layer", "memory", "p_injected"]


def find_word_files(root: Path) -> dict[Path, SweepId]:
    """Find the files of words at one site below `root`, each with the sweep of random memories to compare it with."""
    found = {}
    for path in sorted((root / WORD_RESULTS).rglob("*.csv")):
        if NAME_OF_FILE.fullmatch(path.name):
            found[path] = name_sweep(path)
        else:
            logger.warning("ignoring %s: its name is not that of words injected at one site", path)
    return found


def name_sweep(path: Path) -> SweepId:
    """Return the sweep of random memories that a file's words are from, by the file's name."""
    name = _parse_name(path)
    model, dataset, memories = (translate_name(name[part]) for part in ("model", "data", "column"))
    return SweepId(model, dataset, memories, PAPER_ENCODING)


def _parse_name(path: Path) -> re.Match[str]:
    name = NAME_OF_FILE.fullmatch(path.name)
    if name is None:
        raise StudyError(f"file {path} has not the name of a file of words at one site; remove it")
    return name


def check_word_files(files: Iterable[Path], cells: Mapping[SweepId, Path]) -> pd.DataFrame:
    """Find the layer of each file of words, given the cells of the sweeps of random memories.

    Columns: file, model, dataset, memories; label and magnitude of the file's name; n_prompts, n_words; layer, the
    only one at which all shared cells agree (missing if there is no such layer); n_shared and n_agree, the cells there;
    share_elsewhere, the largest share of cells that agree at another layer; curated_layer, where curated memories of
    that label lie; finding, a sentence.
    """
    rows = [_check_file(path, cells.get(name_sweep(path))) for path in files]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"layer": "Int64", "n_shared": "Int64", "n_agree": "Int64"})


def _check_file(path: Path, cells: Path | None) -> dict[str, Any]:
    name, sweep = _parse_name(path), name_sweep(path)
    label, magnitude = int(name["label"]), float(name["magnitude"])
    n_rows, is_whole = count_rows(path)
    row = {
        "file": path.name, "model": sweep.model, "dataset": sweep.dataset, "memories": sweep.memories, "label": label,
        "magnitude": magnitude, "n_prompts": n_rows, "curated_layer": label - 1,
    }  # fmt: skip
    if not is_whole:
        return {**row, "finding": f"not compared: row {n_rows} (counted from 0) is not whole"}
    words = _read_words(path)
    row["n_words"] = words["word"].nunique()
    layers = [label + step for step in CANDIDATES]
    known = _read_cells(cells, layers, magnitude) if cells else pd.DataFrame(columns=CELLS)
    n_prompts = known["prompt_id"].nunique()
    if n_prompts not in (0, n_rows):
        return {**row, "finding": f"not compared: {n_rows} rows, but {sweep.dataset} has {n_prompts} prompts"}
    agreement = _compare(words, known)
    if agreement.empty:
        return {**row, "finding": "not compared: no sweep injected these words at this magnitude"}
    return {**row, **_decide(agreement, label - 1)}


def _read_words(path: Path) -> pd.DataFrame:
    """Read the probabilities of a file of words, a row for each prompt and word."""
    table = read_csv(path)
    columns = {name: name.removeprefix(P_OF_WORD) for name in table.columns if name.startswith(P_OF_WORD)}
    by_word = [
        pd.DataFrame({"prompt_id": table.index, "word": word, "p": read_probabilities(table, name, path)})
        for name, word in columns.items()
    ]
    return pd.concat([pd.DataFrame({"prompt_id": [], "word": [], "p": []}), *by_word])


def _read_cells(path: Path, layers: Iterable[int], magnitude: float) -> pd.DataFrame:
    here = [("magnitude", "==", magnitude), ("layer", "in", list(layers))]
    return pd.read_parquet(path, columns=CELLS, filters=here).astype({"memory": str})


def _compare(words: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Count at each layer the cells of the same prompt and word (n_shared), and those of equal value (n_agree)."""
    both = cells.merge(words, left_on=["prompt_id", "memory"], right_on=["prompt_id", "word"])
    agrees = np.isclose(both["p"], both["p_injected"].astype("float64"), rtol=TOLERANCE, atol=0)
    return both.assign(agrees=agrees).groupby("layer")["agrees"].agg(n_shared="size", n_agree="sum")


def _decide(agreement: pd.DataFrame, curated_layer: int) -> dict[str, Any]:
    """Return the layer at which all shared cells agree, if it is only one, and say where it lies."""
    share = agreement["n_agree"] / agreement["n_shared"]
    if (share == 1).sum() != 1:
        compared = ", ".join(f"{n} at layer {layer}" for layer, n in agreement["n_shared"].items())
        return {
            "share_elsewhere": share.max(),
            "finding": f"undecided: not exactly one layer agrees (cells compared: {compared})",
        }
    layer = int(share.idxmax())
    return {
        "layer": layer,
        **agreement.loc[layer].to_dict(),
        "share_elsewhere": share.drop(layer).max(),
        "finding": _place(layer - curated_layer),
    }


def _place(distance: int) -> str:
    if distance == 0:
        return "in the block of the curated memories of this label"
    blocks = {1: "one block", 2: "two blocks"}[abs(distance)]
    return f"{blocks} {'later' if distance > 0 else 'earlier'} than the curated memories of this label"
