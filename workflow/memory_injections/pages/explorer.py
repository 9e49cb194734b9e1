"""The study's explorer: one self-contained page that shows every site of every sweep, down to single prompts.

The page holds its numbers packed, and unpacks a sweep when a reader turns to it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from markupsafe import Markup

from memory_injections.analysis.averages import AVERAGES, EFFECTS, PAPER_AVERAGE
from memory_injections.analysis.evidence import ALL_RANDOM
from memory_injections.analysis.paper_tables import HEAD, N_TOKENS, order_heads
from memory_injections.controls.kinds import CONTROLS, SHUFFLED
from memory_injections.data.prompt_pairs import TEXT_COLUMNS
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.pages.explorer_data import (
    COLUMNS,
    has_ranks,
    number_texts,
    pack,
    pack_cells,
    pack_prompts,
    pack_sites,
)
from memory_injections.paper.reported import find_reported_site
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, PROMPT_KINDS

# Characters of packed numbers: with its markup, the page stays under 30 MB.
LIMIT = 29_000_000
# At least so many of them, a cell takes.
LEAST_CHARACTERS = 1
# What a reader chooses from, by kind, as the page's script describes each; the first is what the page opens with. The
# keys are in links that readers have kept.
MEASURES = {
    "effect": EFFECTS,
    "percent": {**AVERAGES, PAPER_AVERAGE: f"{AVERAGES[PAPER_AVERAGE]} (the paper's)"},
    "hits": {"hits_1": "hits@1", "rescued": "rescued answers", "broken": "broken answers"},
}
# What a page says of a sweep's evidence, and of each contrast with what stands in for the curated memories.
EVIDENCE = [
    "effect", "low", "high", "p", "detectable", "n_prompts", "n_clusters", "clusters", "p_above", "layer", "magnitude",
    "chosen_by", "hits_gain", "hits_low", "hits_high", "hits_p",
]  # fmt: skip
CONTRAST = ["stand_in", "effect", "low", "high", "curated_effect", "other_effect"]
N_HEADS = 8
# Rows of heads that are in memory together: each look into the tables costs the more, the more prompts they have.
ROWS_AT_ONCE = 100_000
MEMORY_TARGETS = ("memory", "injected")


def pack_heads(top: Path, targets: Path) -> str:
    """Pack what the `N_HEADS` most informative heads of every prompt say after each kind of prompt.

    In their outputs, answer or memory have the lowest ranks after the explicit prompt, as in Table 2; the highest
    logits as such belong to the same few heads with large outputs, whatever the prompt. By prompt and head: layer,
    head; then by kind of prompt: answer_logit, answer_rank, memory_rank (as in a text or as injected, the lower of
    both) and the top tokens.
    """
    prompt_ids = np.unique(pq.read_table(targets, columns=["prompt_id"])["prompt_id"])
    at_once = max(1, ROWS_AT_ONCE * len(prompt_ids) // pq.read_metadata(targets).num_rows)
    found = [
        _find_informative_heads(top, targets, prompt_ids[start : start + at_once])
        for start in range(0, len(prompt_ids), at_once)
    ]
    heads = pd.concat([heads for heads, _ in found])
    says = pd.concat([says for _, says in found])
    codes, texts = number_texts(says.stack(["prompt_kind", "rank"]))
    memory_ranks = (heads["rank", target][list(PROMPT_KINDS)].to_numpy("int32") for target in MEMORY_TARGETS)
    arrays = {
        "prompt_id": prompt_ids.astype("int32"),
        "layer": heads.index.get_level_values("layer").to_numpy("int16"),
        "head": heads.index.get_level_values("head").to_numpy("int16"),
        "answer_logit": heads["logit", "answer"][list(PROMPT_KINDS)].to_numpy("float32").ravel(),
        "answer_rank": heads["rank", "answer"][list(PROMPT_KINDS)].to_numpy("int32").ravel(),
        "memory_rank": np.minimum(*memory_ranks).ravel(),
        "token": codes,
    }
    return pack(arrays, n_heads=len(heads) // len(prompt_ids), tokens=texts)


def _find_informative_heads(top: Path, targets: Path, prompt_ids: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how the most informative heads of a few prompts rate answer and memory, and their top tokens."""
    here = [("prompt_id", ">=", prompt_ids[0]), ("prompt_id", "<=", prompt_ids[-1])]
    rated = pd.read_parquet(targets, filters=here)
    rated = rated.pivot(index=HEAD, columns=["target", "prompt_kind"], values=["logit", "rank"]).sort_index(axis=1)
    most = order_heads(rated).drop_duplicates(HEAD).groupby("prompt_id").head(N_HEADS)
    heads = rated.loc[pd.MultiIndex.from_frame(most[HEAD])]
    columns = [*HEAD, "prompt_kind", "rank", "token"]
    says = pd.read_parquet(top, columns=columns, filters=[*here, ("rank", "<", N_TOKENS)])
    says = says.pivot(index=HEAD, columns=["prompt_kind", "rank"], values="token").sort_index(axis=1)
    return heads, says.loc[heads.index]


def render_explorer(
    template: Path,
    *,
    source: Literal["models", "published"],
    style: Path,
    scripts: Sequence[Path],
    study: str,
    sweeps: Mapping[SweepId, Path],
    pairs: Mapping[str, pd.DataFrame],
    heads: Sequence[tuple[Path, Path]],
    texts: Mapping[str, pd.DataFrame],
    known_ranks: Sequence[int],
    tables: Mapping[str, pd.DataFrame],
    paper: Mapping[str, Any],
) -> str:
    """Return the page's HTML.

    `source` says whose cells it shows: of this study's models, or those that the authors published. `pairs` are the
    prompt pairs of each data set, `heads` the tables of attribution (top tokens, targets) of each model and data set,
    and `texts` the scores of texts by `model/dataset`, all empty where a study has none. A hop counts as known by each
    of `known_ranks`. `tables` are the study's `evidence`, `contrasts` and, if it has any, `control_contrasts`. Where
    not all cells fit on the page, curated memories come first, then small sweeps; of the others the page has the
    averages only, and says so.
    """
    # What the page shows first comes first.
    encodings = list(ENCODINGS)
    order = sorted(sweeps, key=lambda name: (name.memories != CURATED, name.relative, encodings.index(name.encoding)))
    numbers = {name: number for number, name in enumerate(order)}
    # The page draws its first heat map while the browser still reads the cells: they come last.
    first: dict[str, str] = {}
    ranked: set[SweepId] = set()
    for name, number in numbers.items():
        table = _read_columns(sweeps[name])
        first[f"sites-{number}"] = pack_sites(table)
        if has_ranks(table):
            ranked.add(name)
    last = {
        f"pairs-{dataset}": pack({}, **table[["prompt_id", *TEXT_COLUMNS]].to_dict("list"))
        for dataset, table in pairs.items()
    }
    for top, targets in heads:
        of = _name_heads(targets)
        last[f"prompts-{of}"] = pack_prompts(_read_memory_tokens(targets), texts.get(of))
        last[f"heads-{of}"] = pack_heads(top, targets)
    room = LIMIT - sum(map(len, [*first.values(), *last.values()]))
    sizes = {name: pq.read_metadata(path).num_rows for name, path in sweeps.items()}
    for name in sorted(sweeps, key=lambda name: (name.memories != CURATED, sizes[name])):
        if sizes[name] * LEAST_CHARACTERS > room:
            continue  # packing takes longer than all the rest of the page
        cells = pack_cells(_read_columns(sweeps[name]))
        if len(cells) <= room:
            last[f"cells-{numbers[name]}"] = cells
            room -= len(cells)
    index = {
        # A list: the page's JSON sorts the keys of an object.
        "measures": [(kind, key, label) for kind, labels in MEASURES.items() for key, label in labels.items()],
        "known_ranks": known_ranks,
        "sweeps": [
            {
                **name.columns,
                "encoding": name.coding,
                "dose": name.dose_name,
                "reported": find_reported_site(name, paper),
                "has_cells": f"cells-{number}" in last,
                "has_ranks": name in ranked,
                **find_evidence(name, tables),
            }
            for name, number in numbers.items()
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template.name).render(
        study=study,
        reanalysis=source == "published",
        ranked=bool(ranked),
        known_ranks=known_ranks,
        index=index,
        first=first,
        last=last,
        style=Markup(style.read_text(encoding="utf-8")),
        scripts=[Markup(script.read_text(encoding="utf-8")) for script in scripts],
    )


def find_evidence(sweep: SweepId, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the evidence on a sweep, and the contrasts of its memories, if they are curated, with what stands in.

    The contrasts are with the study's controls and with its random words; those that a verdict rests on come first.
    """
    evidence = _list_rows(tables["evidence"], EVIDENCE, sweep.columns)
    contrasts = []
    if sweep.memories == CURATED:
        own = {name: value for name, value in sweep.columns.items() if name != "memories"}
        for name, effect, label in (
            ("control_contrasts", "control_effect", lambda control: CONTROLS[control].label),
            ("contrasts", "random_effect", _name_words),
        ):
            if name in tables:
                table = tables[name].rename(columns={effect: "other_effect"})
                contrasts += _list_rows(table.assign(stand_in=table["memories"].map(label)), CONTRAST, own)
    contrasts.sort(key=lambda row: row["stand_in"] not in (CONTROLS[SHUFFLED].label, ALL_RANDOM))
    has_prompts = bool(evidence and evidence[0]["n_prompts"])
    return {"evidence": evidence[0] if has_prompts else None, "contrasts": contrasts}


def _name_words(name: str) -> str:
    return name if name == ALL_RANDOM else f"random words ({name})"


def _list_rows(table: pd.DataFrame, columns: Sequence[str], of: Mapping[str, str | bool]) -> list[dict[str, Any]]:
    """List some columns of the rows whose other columns have these values, missing ones as None."""
    own = table.loc[(table[list(of)] == pd.Series(of)).all(axis="columns"), list(columns)].astype(object)
    return own.where(own.notna(), None).to_dict("records")


def _name_heads(targets: Path) -> str:
    """Return `model/dataset` of a table of attribution."""
    (row,) = next(pq.ParquetFile(targets).iter_batches(batch_size=1, columns=["model", "dataset"])).to_pylist()
    return f"{row['model']}/{row['dataset']}"


def _read_memory_tokens(targets: Path) -> pd.Series:
    """Read the tokens that each prompt's memory may begin with, by prompt_id; they are the same for every head."""
    one = {"prompt_kind": "obscure", "layer": 0, "head": 0}
    filters: list[tuple[str, str, Any]] = [(name, "==", value) for name, value in one.items()]
    rows = pd.read_parquet(
        targets, columns=["prompt_id", "token_id"], filters=[*filters, ("target", "in", MEMORY_TARGETS)]
    )
    return rows.groupby("prompt_id")["token_id"].agg(list)


def _read_columns(path: Path) -> pd.DataFrame:
    """Read the columns that the page needs; the authors' cells may lack ranks and tokens."""
    return pd.read_parquet(path, columns=[name for name in COLUMNS if name in pq.read_schema(path).names])
