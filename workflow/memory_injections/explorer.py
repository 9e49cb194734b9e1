"""The study's explorer: one self-contained page that shows every site of every sweep, down to single prompts.

The page holds its numbers packed, and unpacks a sweep when a reader turns to it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import jinja2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from markupsafe import Markup

from .config import CURATED, PROMPT_KINDS, Encoding
from .packing import COLUMNS, coded, pack, pack_cells, pack_sites
from .scorecard import SweepName, reported_site
from .statistics import AVERAGES
from .tables import N_TOKENS

# Characters of packed numbers: with its markup, the page stays under 30 MB.
LIMIT = 29_000_000
N_HEADS = 8
PROMPTS_AT_ONCE = 16
HEAD = ["prompt_id", "layer", "head"]


def pack_heads(top: Path, targets: Path) -> str:
    """What the `N_HEADS` most telling heads of every prompt say after each kind of prompt.

    They rate the answer higher after the explicit than after the obscure prompt by the most, as in Table 2; the highest
    logits as such belong to the same few heads with large outputs, whatever the prompt. By prompt and head: layer,
    head; then by kind of prompt: answer_logit, answer_rank, memory_rank and the top tokens.
    """
    prompt_ids = np.unique(pq.read_table(targets, columns=["prompt_id"])["prompt_id"])
    found = [
        _telling_heads(top, targets, prompt_ids[start : start + PROMPTS_AT_ONCE])
        for start in range(0, len(prompt_ids), PROMPTS_AT_ONCE)
    ]
    heads = pd.concat([heads for heads, _ in found])
    says = pd.concat([says for _, says in found])
    codes, texts = coded(says.stack(["prompt_kind", "rank"]))
    arrays = {
        "prompt_id": prompt_ids.astype("int32"),
        "layer": heads.index.get_level_values("layer").to_numpy("int16"),
        "head": heads.index.get_level_values("head").to_numpy("int16"),
        "answer_logit": heads["logit", "answer"][list(PROMPT_KINDS)].to_numpy("float32").ravel(),
        "answer_rank": heads["rank", "answer"][list(PROMPT_KINDS)].to_numpy("int32").ravel(),
        "memory_rank": heads["rank", "memory"][list(PROMPT_KINDS)].to_numpy("int32").ravel(),
        "token": codes,
    }
    return pack(arrays, n_heads=len(heads) // len(prompt_ids), tokens=texts)


def _telling_heads(top: Path, targets: Path, prompt_ids: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The most telling heads of a few prompts, in order: how they rate answer and memory, and their top tokens."""
    here = [("prompt_id", ">=", prompt_ids[0]), ("prompt_id", "<=", prompt_ids[-1])]
    rated = pd.read_parquet(targets, filters=here)
    rated = rated.pivot(index=HEAD, columns=["target", "prompt_kind"], values=["logit", "rank"]).sort_index(axis=1)
    gain = rated["logit", "answer", "explicit"] - rated["logit", "answer", "obscure"]
    by_gain = gain.rename("gain").reset_index().sort_values(["prompt_id", "gain"], ascending=[True, False])
    heads = rated.loc[pd.MultiIndex.from_frame(by_gain.groupby("prompt_id").head(N_HEADS)[HEAD])]
    columns = [*HEAD, "prompt_kind", "rank", "token"]
    says = pd.read_parquet(top, columns=columns, filters=[*here, ("rank", "<", N_TOKENS)])
    says = says.pivot(index=HEAD, columns=["prompt_kind", "rank"], values="token").sort_index(axis=1)
    return heads, says.loc[heads.index]


def render(
    template: Path,
    style: Path,
    scripts: Sequence[Path],
    study: str,
    sweeps: Mapping[SweepName, Path],
    pairs: Mapping[str, pd.DataFrame],
    heads: Mapping[tuple[str, str], tuple[Path, Path]],
    paper: Mapping[str, Any],
) -> str:
    """The page's HTML.

    `pairs` are the prompt pairs of each data set and `heads` the tables of attribution (top tokens, targets) of each
    model and data set, both empty where a study has none. Where not all cells fit on the page, curated memories come
    first, then small sweeps; of the others the page has the averages only, and says so.
    """
    # What the page shows first comes first.
    order = sorted(sweeps, key=lambda name: (name.memories != CURATED, get_args(Encoding).index(name.encoding)))
    numbers = {name: number for number, name in enumerate(order)}
    # The page draws its first heat map while the browser still reads the cells: they come last.
    first = {f"sites-{number}": pack_sites(_read(sweeps[name])) for name, number in numbers.items()}
    last = {f"pairs-{dataset}": pack({}, **table.to_dict("list")) for dataset, table in pairs.items()}
    last |= {f"heads-{model}/{dataset}": pack_heads(*tables) for (model, dataset), tables in heads.items()}
    room = LIMIT - sum(map(len, [*first.values(), *last.values()]))
    for name in sorted(sweeps, key=lambda name: (name.memories != CURATED, pq.read_metadata(sweeps[name]).num_rows)):
        cells = pack_cells(_read(sweeps[name]))
        if len(cells) <= room:
            last[f"cells-{numbers[name]}"] = cells
            room -= len(cells)
    index = {
        "averages": AVERAGES,
        "sweeps": [
            {**vars(name), "reported": reported_site(name, paper), "has_cells": f"cells-{number}" in last}
            for name, number in numbers.items()
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template.name).render(
        study=study,
        reanalysis=not pairs,
        index=index,
        first=first,
        last=last,
        style=Markup(style.read_text(encoding="utf-8")),
        scripts=[Markup(script.read_text(encoding="utf-8")) for script in scripts],
    )


def _read(path: Path) -> pd.DataFrame:
    """What the page needs of a sweep; the authors' cells may lack ranks and tokens."""
    return pd.read_parquet(path, columns=[name for name in COLUMNS if name in pq.read_schema(path).names])
