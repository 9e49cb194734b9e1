"""The paper's Tables 1, 2 and 3, and that of the text check, as data frames."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.averages import (
    AVERAGED,
    AVERAGES,
    EFFECTS,
    PAPER_AVERAGE,
    average_site,
    average_sites,
    find_best_site,
)
from memory_injections.analysis.clusters import align_clusters, cluster_prompts
from memory_injections.analysis.effects import estimate_mean
from memory_injections.analysis.hits import compute_mcnemar
from memory_injections.data.prompt_pairs import TEXT_COLUMNS
from memory_injections.sweeps.identity import SweepId, find_other_memories
from memory_injections.terms import CURATED, PROMPT_KINDS, TARGETS

# The paper's average, and the one that the evidence rests on.
BEST_BY = (PAPER_AVERAGE, "effect")
# Examples of each target.
N_EXAMPLES = 4
N_TOKENS = 6
# How many prompt pairs a row of the text check names.
N_NAMED = 10
# Beyond this rank of answer and memory, a head says nothing of them.
INFORMATIVE = 100
# Of the targets, whichever has the lowest rank; and what informative heads are compared with.
ANY, CHANCE = "any", "chance"
HEAD = ["prompt_id", "layer", "head"]
EXAMPLE = [
    "model", "dataset", "prompt_id", "explicit_prompt", "obscure_prompt", "memory", "answer", "tells", "layer", "head",
    "gain", "rank_other",
    *(f"{name}_{kind}" for kind in PROMPT_KINDS for name in ("says", *(f"{target}_rank" for target in TARGETS))),
]  # fmt: skip
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


def order_heads(rated: pd.DataFrame) -> pd.DataFrame:
    """List what heads tell of answer and memory after the explicit prompt, for each prompt the most informative first.

    `rated` has a row for each (prompt_id, layer, head), and columns (`logit` or `rank`, target, prompt_kind). A head
    tells the more, the lower the target's rank is in its output; of equal ranks, the one counts more whose logit has
    more of a `gain` over the obscure prompt. Columns: prompt_id, layer, head, tells (the target), rank, gain.
    """
    gain = {
        target: rated["logit", target, "explicit"] - rated["logit", target, "obscure"]
        for target in rated.columns.get_level_values("target").unique()
    }
    tables = [
        pd.DataFrame({"tells": target, "rank": rated["rank", target, "explicit"], "gain": own})
        for target, own in gain.items()
    ]
    table = pd.concat(tables).reset_index()
    return table.sort_values(["prompt_id", "rank", "gain"], ascending=[True, True, False], ignore_index=True)


def build_table2(readings: Iterable[tuple[Path, Path]], pairs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Collect example prompt pairs with what their most informative head says (Table 2).

    `readings` are the two tables of attribution (top tokens, targets) of each model and data set, `pairs` the prompt
    pairs of each data set. The most informative head of a pair is the one in whose output one of `TARGETS` has the
    lowest rank after the explicit prompt; beyond rank `INFORMATIVE`, none is informative. The examples are the pairs
    with the lowest ranks, as many of each target. Columns: model, dataset, the pair, tells (the target), layer, head,
    gain (difference of its logit), rank_other (the null: the rank of another pair's target in the same output), and for
    each prompt kind the head's top tokens (`says_*`) and the ranks of all targets.
    """
    return pd.concat((_find_examples(top, targets, pairs) for top, targets in readings), ignore_index=True)


def _find_examples(top: Path, targets: Path, pairs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Find the examples of one model and data set."""
    values, by = ["logit", "rank", "rank_other"], ["target", "prompt_kind"]
    ratings = pd.read_parquet(targets, columns=["model", "dataset", *HEAD, *by, *values])
    wide = ratings.pivot(index=HEAD, columns=by, values=values)
    informative = order_heads(wide).drop_duplicates("prompt_id").query("rank < @INFORMATIVE")
    best = informative.sort_values(["rank", "gain"], ascending=[True, False]).groupby("tells").head(N_EXAMPLES)
    model, dataset = ratings[["model", "dataset"]].iloc[0]
    texts = pairs[dataset].set_index("prompt_id")[TEXT_COLUMNS]
    rows = []
    for example in best.sort_values("tells", kind="stable").itertuples(index=False):
        place = (example.prompt_id, example.layer, example.head)
        says = pq.read_table(top, filters=[(name, "=", value) for name, value in zip(HEAD, place, strict=True)])
        says = says.to_pandas().query("rank < @N_TOKENS").sort_values("rank")
        row = {
            "model": model,
            "dataset": dataset,
            "prompt_id": example.prompt_id,
            **texts.loc[example.prompt_id],
            "tells": example.tells,
            "layer": example.layer,
            "head": example.head,
            "gain": example.gain,
            "rank_other": wide.loc[place, ("rank_other", example.tells, "explicit")],
        }
        for kind in PROMPT_KINDS:
            row[f"says_{kind}"] = " · ".join(says.loc[says["prompt_kind"] == kind, "token"].map(_show_token))
            for target in TARGETS:
                row[f"{target}_rank_{kind}"] = int(wide.loc[place, ("rank", target, kind)])
        rows.append(row)
    return pd.DataFrame(rows, columns=EXAMPLE)


def count_informative_heads(targets: Iterable[Path]) -> pd.DataFrame:
    """Count the prompts with a head in whose output a target has a rank below `INFORMATIVE`, also by chance.

    By chance: with another pair's target in the same outputs. Columns: model, dataset, target, prompt_kind,
    n_prompts, n_informative, n_informative_other, and the medians over the prompts of the lowest rank in any head,
    best_rank and best_rank_other.
    """
    keys = ["model", "dataset", "target", "prompt_kind"]
    rows = []
    for path in targets:
        ranks = pd.read_parquet(path, columns=[*keys, "prompt_id", "rank", "rank_other"])
        best = ranks.groupby([*keys, "prompt_id"], observed=True)[["rank", "rank_other"]].min()
        for key, own in best.groupby(keys, observed=True):
            rows.append(
                {
                    **dict(zip(keys, key, strict=True)),
                    "n_prompts": len(own),
                    "n_informative": int((own["rank"] < INFORMATIVE).sum()),
                    "n_informative_other": int((own["rank_other"] < INFORMATIVE).sum()),
                    "best_rank": own["rank"].median(),
                    "best_rank_other": own["rank_other"].median(),
                }
            )
    return pd.DataFrame(rows)


def compare_informative_heads(targets: Iterable[Path], pairs: Mapping[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """Compare which prompts have an informative head: explicit with obscure ones, and both with chance.

    A head is informative if a target has a rank below `INFORMATIVE` in its output; by chance, if another pair's has.
    `pairs` are the prompt pairs of each data set. Columns: model, dataset, target (one of `TARGETS`, or `ANY` of them),
    prompt_kind, against (`obscure`, or `CHANCE` in the same outputs), n_prompts, those in which there is an informative
    head both times, only the first or only the second time (n_both, n_only, n_against_only), p_mcnemar (exact; it
    takes prompts for independent), and the mean difference of both shares over clusters of prompts: difference, low,
    high, p, n_clusters. Prompts without another pair do not count against chance.
    """
    columns = ["model", "dataset", "target", "prompt_kind", "prompt_id", "rank", "rank_other"]
    tables = (pd.read_parquet(path, columns=columns) for path in targets)
    return pd.DataFrame([row for ratings in tables for row in _compare_heads(ratings, pairs, seed)])


def _compare_heads(
    ratings: pd.DataFrame, pairs: Mapping[str, pd.DataFrame], seed: int
) -> Iterator[dict[str, str | float]]:
    """Yield the rows of one model and data set."""
    names = {name: str(ratings[name].iloc[0]) for name in ("model", "dataset")}
    clusters = cluster_prompts(pairs[names["dataset"]])
    keys = ["target", "prompt_kind", "prompt_id"]
    lowest = ratings.groupby(keys, observed=True)[["rank", "rank_other"]].min().astype("float64")
    tables = {target: lowest.loc[target] for target in TARGETS} | {ANY: lowest.groupby(keys[1:]).min()}
    for target, ranks in tables.items():
        own = ranks.unstack("prompt_kind")
        for kind, against in (PROMPT_KINDS, *((kind, CHANCE) for kind in PROMPT_KINDS)):
            second = own["rank_other", kind] if against == CHANCE else own["rank", against]
            both = pd.DataFrame({"first": own["rank", kind], "second": second}).dropna() < INFORMATIVE
            first, second = both["first"], both["second"]
            n_only, n_against_only = int((first & ~second).sum()), int((second & ~first).sum())
            groups = pd.factorize(align_clusters(clusters, both.index))[0]
            found = estimate_mean((first.astype(float) - second).to_numpy(), groups, seed)
            yield {
                **names,
                "target": target,
                "prompt_kind": kind,
                "against": against,
                "n_prompts": len(both),
                "n_both": int((first & second).sum()),
                "n_only": n_only,
                "n_against_only": n_against_only,
                "p_mcnemar": compute_mcnemar(n_only, n_against_only),
                "difference": found.effect,
                **{name: found.columns[name] for name in ("low", "high", "p", "n_clusters")},
            }


def _show_token(token: str) -> str:
    return token.strip() or repr(token)


def build_table3(sweeps: Mapping[SweepId, Path]) -> pd.DataFrame:
    """Find the best sites of the curated memories, and list the random memories at the same sites (Table 3).

    `sweeps` gives the table of cells of each sweep. The best site is the one with the highest average by the paper's
    rule, and beside it the one with the highest mean effect. Columns: model, dataset, encoding, relative, best_by,
    layer, paper_layer (the same, counted from 1), magnitude, memories, the averages in percent, the mean and median
    effect in nats, n_improved, n_prompts. The numbers of a random memory whose grid lacks the site
    are missing; in an encoding that no curated memory has, each random memory stands at its own best site.
    """
    rows: list[dict[str, Any]] = []
    other_memories = find_other_memories(sweeps)
    for sweep, path in sweeps.items():
        curated = replace(sweep, memories=CURATED)
        if sweep != curated and curated in sweeps:
            continue
        cells = pd.read_parquet(path, columns=AVERAGED)
        others = other_memories[sweep] if sweep == curated else []
        sites = average_sites(cells)
        for best_by in BEST_BY:
            layer, magnitude = find_best_site(sites, best_by)
            site = {"layer": layer, "paper_layer": layer + 1, "magnitude": magnitude}
            where = {"best_by": best_by, **site}
            is_here = [("layer", "==", layer), ("magnitude", "==", magnitude)]
            for one in (sweep, *others):
                here = pd.read_parquet(sweeps[one], columns=AVERAGED, filters=is_here)
                numbers = dict.fromkeys(NUMBERS) if here.empty else average_site(here).to_dict()
                rows.append({**sweep.columns, **where, "memories": one.memories, **numbers})
    first = ["model", "dataset", "encoding", "relative", "best_by", "layer", "paper_layer", "magnitude", "memories"]
    return pd.DataFrame(rows, columns=[*first, *NUMBERS]).astype({"n_improved": "Int64", "n_prompts": "Int64"})


def count_text_checks(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Count the prompt pairs that each check of the texts names (`models.text_check`), for each model and data set.

    Columns: model, dataset, check, n, n_prompts, share, and rows: the first of them by prompt_id.
    """
    rows: list[dict[str, Any]] = []
    for table in tables:
        of = {"model": table["model"].iloc[0], "dataset": table["dataset"].iloc[0]}
        for check, found in table.select_dtypes(bool).items():
            ids = table.loc[found, "prompt_id"].head(N_NAMED)
            numbers = {"n": int(found.sum()), "n_prompts": len(table), "share": found.mean()}
            rows.append({**of, "check": check, **numbers, "rows": ", ".join(map(str, ids))})
    return pd.DataFrame(rows)


def list_text_checks(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """List every prompt pair's texts as tokens, with the names of the checks that name it in the column checks."""
    parts = []
    for table in tables:
        checks = table.select_dtypes(bool)
        names = [", ".join(checks.columns[row]) for row in checks.to_numpy()]
        parts.append(table.drop(columns=[*checks, "scored_id"]).assign(checks=names))
    return pd.concat(parts, ignore_index=True)
