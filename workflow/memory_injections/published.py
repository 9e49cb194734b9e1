"""The authors' published per-prompt results, read into our cell table.

Their files, one a magnitude, hold a row a prompt and a column a layer:

- `experiments/tweak_factor_analysis/<data>/<model>/<hook>/tweak_<magnitude>.csv`: curated memories, an encoding a hook
- `experiments/part_of_speech_tweak_factor_injections/pos_results/<model>/<data>/<column>/*_<magnitude>.csv`: random
  memories of a part of speech in the unembed encoding, with the injected word beside each probability
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .cells import SCHEMA
from .config import CURATED
from .errors import StudyError
from .files import logger
from .prompts import read_csv

CURATED_RESULTS = "experiments/tweak_factor_analysis"
RANDOM_RESULTS = "experiments/part_of_speech_tweak_factor_injections/pos_results"
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


@dataclass(frozen=True)
class PublishedSweep:
    """One sweep of the authors, under our names, and the folder of its files."""

    model: str
    dataset: str
    memories: str
    encoding: str
    folder: str


def fetch(repo: str, commit: str, folder: Path) -> None:
    """Fill the empty `folder` with the authors' results at a commit of their repository.

    git fetches only the results' folders, and its hashes vouch for them. Raises `StudyError` if it cannot.
    """

    def git(*arguments: str) -> None:
        # A repository that is not there looks to git like one that wants a password.
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(["git", "-C", str(folder), *arguments], text=True, capture_output=True, env=environment)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["git said nothing"])[-1]
            raise StudyError(
                f"git cannot fetch commit {commit} of {repo} ({reason}); check published.repo, published.commit and "
                "the network, or name a local copy with `source: folder`"
            )

    git("init", "--quiet")
    git("remote", "add", "origin", repo)
    git("sparse-checkout", "set", "--no-cone", f"/{CURATED_RESULTS}/", f"/{RANDOM_RESULTS}/")
    git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit)
    git("checkout", "--quiet", "FETCH_HEAD")


def find_sweeps(root: Path) -> list[dict[str, Any]]:
    """Every sweep of the authors below `root`, as fields of `PublishedSweep`; raises `StudyError` if there is none."""
    found = []
    for folder in _folders(root / CURATED_RESULTS):
        # A model's folder may lie in one of its organisation.
        data, *_, model, hook = folder.relative_to(root / CURATED_RESULTS).parts
        if hook in ENCODINGS:
            found.append(PublishedSweep(_ours(model), _ours(data), CURATED, ENCODINGS[hook], str(folder)))
        else:
            logger.warning("passing over %s: no encoding is called so", folder)
    for folder in _folders(root / RANDOM_RESULTS):
        *_, model, data, column = folder.relative_to(root / RANDOM_RESULTS).parts
        found.append(PublishedSweep(_ours(model), _ours(data), _ours(column), "unembed", str(folder)))
    if not found:
        raise StudyError(
            f"folder {root} has no results of the authors ({CURATED_RESULTS}/<data>/<model>/<hook>/*.csv or "
            f"{RANDOM_RESULTS}/<model>/<data>/<column>/*.csv); give the root of a copy of their repository"
        )
    return [asdict(sweep) for sweep in found]


def _folders(root: Path) -> list[Path]:
    """The folders below `root` that hold results, at least three deep."""
    folders = sorted({path.parent for path in root.rglob("*.csv")})
    return [folder for folder in folders if len(folder.relative_to(root).parts) >= 3]


def _ours(name: str) -> str:
    return OUR_NAMES.get(name, name)


def iterate_cells(sweep: PublishedSweep) -> Iterator[pd.DataFrame]:
    """The cells of one sweep in the columns of `cells.SCHEMA`, a file (a magnitude) at a time.

    What the authors did not publish (ranks, KL, the text of the top token) is missing. Raises `StudyError` for a file
    that is not theirs.
    """
    files: dict[float, Path] = {}
    for path in sorted(Path(sweep.folder).glob("*.csv")):
        name = MAGNITUDE.search(path.name)
        if name is None:
            raise StudyError(f"file {path} has no magnitude at the end of its name; remove it from the results")
        if files.setdefault(float(name[1]), path) != path:
            raise StudyError(f"files {files[float(name[1])]} and {path} are of the same magnitude; remove one")
    for magnitude, path in sorted(files.items()):
        yield _cells_of_file(read_csv(path), sweep, magnitude, path)


def _cells_of_file(table: pd.DataFrame, sweep: PublishedSweep, magnitude: float, path: Path) -> pd.DataFrame:
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
                "p_explicit": _numbers(table, "answer_prob_exp", path),
                "p_obscure": _numbers(table, "answer_prob_obs", path),
                "p_injected": _numbers(table, f"ans_prob_obs_edit_layer{layer}", path),
                "top_token_id": _first_tokens(table, TOP_TOKENS.format(layer)),
            }
        )
        for layer in layers
    ]
    names = {"memories": sweep.memories, "encoding": sweep.encoding, "magnitude": magnitude, "top_token": None}
    cells = pd.concat(by_layer).assign(**names)
    with np.errstate(divide="ignore"):
        cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    return cells.sort_values(["prompt_id", "layer"]).reindex(columns=SCHEMA.names)


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    try:
        numbers = pd.to_numeric(table[column])
    except ValueError as error:
        raise StudyError(f"file {path}: column {column} holds something else than numbers ({error})") from None
    if not numbers.between(0, 1).all():
        raise StudyError(f"file {path}: column {column} holds something else than probabilities; repair the file")
    return numbers


def _first_tokens(table: pd.DataFrame, column: str) -> pd.Series:
    """The most probable token after the injection: the first of a list printed as text."""
    if column not in table.columns:
        return pd.Series(pd.NA, index=table.index, dtype="Int32")
    return table[column].str.extract(r"(\d+)", expand=False).astype("Int32")
