"""Which prompts a verdict is about: a part of a data set, chosen by what the model says without any injection.

The job `population` makes the choice once for a model and a data set; evidence and controls read it from its table.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from memory_injections.analysis.clusters import align_clusters, cluster_prompts
from memory_injections.analysis.effects import FEWEST_CLUSTERS
from memory_injections.analysis.hits import tabulate_ranks
from memory_injections.data.content_words import shares_words
from memory_injections.terms import Population, Shortcut

# What the model reads for the choice, by the names of `controls.texts.list_texts`.
TEXTS = ["obscure", "explicit", "first_hop", "without_entity", "without_relation"]
EVERY, BOTH_HOPS, MISSED = get_args(Population)
SHORTCUTS: tuple[Shortcut, ...] = get_args(Shortcut)
# What the table of the choice says of a prompt; `counted` says whether it is in the part.
MARKS = [BOTH_HOPS, MISSED, *SHORTCUTS, "counted"]
COUNTED = ["model", "dataset", "population", "n_prompts", *(f"n_{mark}" for mark in MARKS), "n_clusters"]
# The prompts that count, by model and data set; a study that names no part has none.
Counted = Mapping[tuple[str, str], pd.Index]


def judge_texts(texts: pd.DataFrame, known_rank: int | None = None) -> pd.DataFrame:
    """Return whether the model says the answer (of first hops: the memory) after each text, by prompt_id.

    It says what has a rank below `known_rank`; without one, what it writes (the column is_right). After a text that a
    prompt lacks, it says nothing.
    """
    if known_rank is None:
        said = texts.pivot(index="prompt_id", columns="text", values="is_right").fillna(False).astype(bool)
    else:
        said = tabulate_ranks(texts) < known_rank
    return said.reindex(columns=[*TEXTS, *said.columns.difference(TEXTS)], fill_value=False)


def mark_prompts(pairs: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """Say of each prompt what may decide whether it counts: a boolean column each, by prompt_id.

    - both_hops_known: the model says the memory behind the first hop, and the answer behind the explicit prompt
    - composition_missed: and it does not say the answer behind the obscure prompt
    - words: the obscure prompt has a word of the memory or the answer
    - without_entity, without_relation: the model says the answer behind the obscure prompt without one of the two

    `said` is what `judge_texts` returns.
    """
    said = said.reindex(pairs["prompt_id"], fill_value=False)
    both = said["first_hop"] & said["explicit"]
    words = pd.Series([shares_words(pair) for pair in pairs.to_dict("records")], index=pairs["prompt_id"], dtype=bool)
    shortcuts = {name: words if name == "words" else said[name] for name in SHORTCUTS}
    return pd.DataFrame({BOTH_HOPS: both, MISSED: both & ~said["obscure"], **shortcuts})


def choose_prompts(marks: pd.DataFrame, population: Population, leave_out: Sequence[Shortcut]) -> pd.DataFrame:
    """Add the column `counted` to the table of `mark_prompts`: in the population, and not left out."""
    is_in = marks[population] if population != EVERY else pd.Series(True, index=marks.index)
    return marks.assign(counted=is_in & ~marks[list(leave_out)].any(axis="columns"))


def read_population(tables: Iterable[Path]) -> Counted:
    """Read which prompts count from the tables that the jobs `population` have written."""
    counted = {}
    for path in tables:
        table = pd.read_parquet(path)
        model, dataset = table[["model", "dataset"]].iloc[0]
        counted[model, dataset] = pd.Index(table.loc[table["counted"], "prompt_id"])
    return counted


def keep_prompts(cells: pd.DataFrame, counted: pd.Index | None) -> pd.DataFrame:
    """Return the cells of the prompts that are counted; all cells if none are named."""
    return cells if counted is None else cells[cells["prompt_id"].isin(counted)]


def count_population(tables: Iterable[Path], pairs: Mapping[str, pd.DataFrame], population: Population) -> pd.DataFrame:
    """Count the prompts of each model and data set that have a mark of `MARKS`, and the clusters of those that count.

    `tables` are those of the jobs `population`.
    """
    rows = []
    for path in tables:
        table = pd.read_parquet(path)
        model, dataset = table[["model", "dataset"]].iloc[0]
        ids = pd.Index(table.loc[table["counted"], "prompt_id"])
        clusters = align_clusters(cluster_prompts(pairs[dataset]), ids)
        counts = {f"n_{mark}": int(table[mark].sum()) for mark in MARKS}
        row = {"model": model, "dataset": dataset, "population": population, "n_prompts": len(table)}
        rows.append({**row, **counts, "n_clusters": clusters.nunique()})
    return pd.DataFrame(rows, columns=COUNTED)


def describe_population(row: pd.Series) -> str:
    """Say how many prompts of a model and a data set count, and where they are too few for a verdict.

    `row` is of the table of `count_population`.
    """
    few = f": too few for a verdict, which takes {FEWEST_CLUSTERS}" if row["n_clusters"] < FEWEST_CLUSTERS else ""
    return (
        f"{row['model']} on {row['dataset']} ({row['n_counted']} of {row['n_prompts']} prompts, in {row['n_clusters']} "
        f"clusters{few})"
    )
