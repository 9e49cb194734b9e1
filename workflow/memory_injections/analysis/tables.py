"""The paper's Tables 1, 2 and 3 as data frames."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.averages import (
    AVERAGES,
    EFFECTS,
    PAPER_AVERAGE,
    average_site,
    average_sites,
    find_best_site,
    select_site,
)
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, PROMPT_KINDS

# The paper's average, and the one that the evidence rests on.
BEST_BY = (PAPER_AVERAGE, "effect")
N_EXAMPLES = 8
N_TOKENS = 6
OF_PROMPTS = {"p": "p_answer", "n_tokens": "n_tokens"}
NUMBERS = [*AVERAGES, *EFFECTS, "n_improved", "n_prompts"]


def score_prompts_of_cache(cache: ActivationCache) -> pd.DataFrame:
    """Return `p_<kind>` and `n_tokens_<kind>` of every prompt, for Table 1, from an activation cache."""
    columns = {f"{short}_{kind}": f"{kind}.{name}" for short, name in OF_PROMPTS.items() for kind in PROMPT_KINDS}
    prompts = pd.DataFrame({column: cache.read_array(name).astype("float64") for column, name in columns.items()})
    return prompts.assign(model=cache.model, dataset=cache.dataset)


def score_prompts_of_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return `p_<kind>` of every prompt, for Table 1, from the cells of a sweep, which has no lengths."""
    prompts = cells.drop_duplicates("prompt_id")[["model", "dataset", "p_explicit", "p_obscure"]]
    return prompts.astype({"p_explicit": "float64", "p_obscure": "float64"})


def build_table1(prompts: pd.DataFrame) -> pd.DataFrame:
    """Average how well each model answers each kind of prompt (Table 1).

    Columns: model, dataset, prompt_kind, n_prompts, p_answer, surprisal (nats), n_tokens (BOS counted, missing if not
    known). `prompts` has a row for each prompt of each model.
    """
    rows = [
        {
            "model": model,
            "dataset": dataset,
            "prompt_kind": kind,
            "n_prompts": len(own),
            "p_answer": own[f"p_{kind}"].mean(),
            "surprisal": -np.log(own[f"p_{kind}"]).mean(),
            "n_tokens": own.get(f"n_tokens_{kind}", pd.Series(dtype=float)).mean(),
        }
        for (model, dataset), own in prompts.groupby(["model", "dataset"], sort=False, observed=True)
        for kind in PROMPT_KINDS
    ]
    return pd.DataFrame(rows)


def build_table2(readings: Iterable[tuple[Path, Path]], pairs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Collect example prompt pairs with what their most telling head says (Table 2).

    `readings` are the two tables of attribution (top tokens, targets) of each model and data set, `pairs` the prompt
    pairs of each data set. The most telling head of a pair is the one whose output rates the answer higher after the
    explicit than after the obscure prompt by the most; the examples are the pairs where that difference is largest.
    Columns: model, dataset, the pair, layer, head, gain (difference of the answer's logit), and for each prompt kind
    the head's top tokens (`says_*`) and the ranks of answer and memory (from 0).
    """
    return pd.concat(_find_examples(top, targets, pairs) for top, targets in readings)


def _find_examples(top: Path, targets: Path, pairs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Find the examples of one model and data set."""
    logits = pd.read_parquet(targets)
    wide = logits.pivot_table(
        index=["prompt_id", "layer", "head"], columns=["target", "prompt_kind"], values=["logit", "rank"]
    )
    gain = wide["logit", "answer", "explicit"] - wide["logit", "answer", "obscure"]
    telling = gain.loc[gain.groupby("prompt_id").idxmax()].nlargest(N_EXAMPLES)
    model, dataset = logits[["model", "dataset"]].iloc[0]
    texts = pairs[dataset].drop(columns="dataset").set_index("prompt_id")
    rows = []
    for (prompt_id, layer, head), value in telling.items():
        says = pq.read_table(top, filters=[("prompt_id", "=", prompt_id), ("layer", "=", layer), ("head", "=", head)])
        says = says.to_pandas().query("rank < @N_TOKENS").sort_values("rank")
        row = {
            "model": model,
            "dataset": dataset,
            "prompt_id": prompt_id,
            **texts.loc[prompt_id],
            "layer": layer,
            "head": head,
            "gain": value,
        }
        for kind in PROMPT_KINDS:
            row[f"says_{kind}"] = " · ".join(says.loc[says["prompt_kind"] == kind, "token"].map(_show_token))
            for target in ("answer", "memory"):
                row[f"{target}_rank_{kind}"] = int(wide.loc[(prompt_id, layer, head), ("rank", target, kind)])
        rows.append(row)
    return pd.DataFrame(rows)


def _show_token(token: str) -> str:
    return token.strip() or repr(token)


def build_table3(sweeps: Mapping[SweepId, Path]) -> pd.DataFrame:
    """Find the best sites of the curated memories, and list the random memories at the same sites (Table 3).

    `sweeps` gives the table of cells of each sweep. The best site is the one with the highest average by the paper's
    rule, and beside it the one with the highest mean effect. Columns: model, dataset, encoding, best_by, layer,
    paper_layer (the same, counted from 1), magnitude, memories, the averages in percent, the mean and median effect in
    nats, n_improved, n_prompts. The numbers of a random memory whose grid lacks the site
    are missing; in an encoding that no curated memory has, each random memory stands at its own best site.
    """
    rows: list[dict[str, Any]] = []
    for sweep, path in sweeps.items():
        curated = replace(sweep, memories=CURATED)
        if sweep != curated and curated in sweeps:
            continue
        cells = pd.read_parquet(path)
        others = sweep.other_memories(sweeps) if sweep == curated else []
        tables = {sweep.memories: cells, **{other.memories: pd.read_parquet(sweeps[other]) for other in others}}
        sites = average_sites(cells)
        for best_by in BEST_BY:
            layer, magnitude = find_best_site(sites, best_by)
            site = {"layer": layer, "paper_layer": layer + 1, "magnitude": magnitude}
            where = {"encoding": sweep.encoding, "best_by": best_by, **site}
            for memories, table in tables.items():
                here = select_site(table, layer, magnitude)
                numbers = dict.fromkeys(NUMBERS) if here.empty else average_site(here).to_dict()
                rows.append({"model": sweep.model, "dataset": sweep.dataset, **where, "memories": memories, **numbers})
    first = ["model", "dataset", "encoding", "best_by", "layer", "paper_layer", "magnitude", "memories"]
    return pd.DataFrame(rows, columns=[*first, *NUMBERS]).astype({"n_improved": "Int64", "n_prompts": "Int64"})
