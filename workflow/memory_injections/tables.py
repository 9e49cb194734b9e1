"""The paper's Tables 1, 2 and 3 as data frames."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from .cache import ActivationCache
from .config import CURATED, PROMPT_KINDS
from .statistics import AVERAGES, at_site, averages_by_site, best_site, site_averages

BEST_BY = ("mean", "median")
N_EXAMPLES = 8
N_TOKENS = 6
OF_PROMPTS = {"p": "p_answer", "n_tokens": "n_tokens"}
NUMBERS = [*AVERAGES, "n_improved", "n_prompts"]


def prompts_of_cache(cache: ActivationCache) -> pd.DataFrame:
    """What `table1` needs, from an activation cache: p and n_tokens of every prompt of each kind."""
    columns = {f"{short}_{kind}": f"{kind}.{name}" for short, name in OF_PROMPTS.items() for kind in PROMPT_KINDS}
    return pd.DataFrame({column: cache[name].double().numpy() for column, name in columns.items()})


def prompts_of_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The same from a sweep, which has no lengths."""
    return cells.drop_duplicates("prompt_id")[["p_explicit", "p_obscure"]].astype("float64")


def table1(prompts: pd.DataFrame) -> pd.DataFrame:
    """How well a model answers each kind of prompt, averaged over the prompts of a data set (Table 1).

    Columns: prompt_kind, n_prompts, p_answer, surprisal (nats), n_tokens (BOS counted, missing if not known).
    """
    rows = [
        {
            "prompt_kind": kind,
            "n_prompts": len(prompts),
            "p_answer": prompts[f"p_{kind}"].mean(),
            "surprisal": -np.log(prompts[f"p_{kind}"]).mean(),
            "n_tokens": prompts.get(f"n_tokens_{kind}", pd.Series(dtype=float)).mean(),
        }
        for kind in PROMPT_KINDS
    ]
    return pd.DataFrame(rows)


def table2(top: Path, targets: Path, pairs: pd.DataFrame) -> pd.DataFrame:
    """Example prompt pairs with what their most telling head says (Table 2).

    The most telling head of a pair is the one whose output rates the answer higher after the explicit than after
    the obscure prompt by the most; the examples are the pairs where that difference is largest. Columns: the
    pair, layer, head, gain (difference of the answer's logit), and for each prompt kind the head's top tokens
    (`says_*`) and the ranks of answer and memory (from 0).
    """
    logits = pd.read_parquet(targets)
    wide = logits.pivot_table(
        index=["prompt_id", "layer", "head"], columns=["target", "prompt_kind"], values=["logit", "rank"]
    )
    gain = wide["logit", "answer", "explicit"] - wide["logit", "answer", "obscure"]
    telling = gain.loc[gain.groupby("prompt_id").idxmax()].nlargest(N_EXAMPLES)
    texts = pairs.set_index("prompt_id")
    rows = []
    for (prompt_id, layer, head), value in telling.items():
        says = pq.read_table(top, filters=[("prompt_id", "=", prompt_id), ("layer", "=", layer), ("head", "=", head)])
        says = says.to_pandas().query("rank < @N_TOKENS").sort_values("rank")
        row = {"prompt_id": prompt_id, **texts.loc[prompt_id], "layer": layer, "head": head, "gain": value}
        for kind in PROMPT_KINDS:
            row[f"says_{kind}"] = " · ".join(says.loc[says["prompt_kind"] == kind, "token"].map(_visible))
            for target in ("answer", "memory"):
                row[f"{target}_rank_{kind}"] = int(wide.loc[(prompt_id, layer, head), ("rank", target, kind)])
        rows.append(row)
    return pd.DataFrame(rows)


def _visible(token: str) -> str:
    return token.strip() or repr(token)


def table3(sweeps: dict[tuple[str, str], Path]) -> pd.DataFrame:
    """The best sites of the curated memories, with the random memories at the same sites (Table 3).

    `sweeps` gives the cells of each (memory kind, encoding) of one model and data set. The best site is the one
    with the highest mean percent change, and beside it the one with the highest median.
    Columns: encoding, best_by, layer, magnitude, memories, the four averages in percent, n_improved, n_prompts.
    The numbers of a random memory whose grid lacks the site are missing; in an encoding that no curated memory
    has, each random memory stands at its own best site.
    """
    rows = []
    for (memories, encoding), path in sweeps.items():
        curated = (CURATED, encoding) in sweeps
        if memories != CURATED and curated:
            continue
        cells = pd.read_parquet(path)
        sites = averages_by_site(cells)
        others = {
            other: pd.read_parquet(of)
            for (other, e), of in sweeps.items()
            if curated and e == encoding and other != CURATED
        }
        for best_by in BEST_BY:
            layer, magnitude = best_site(sites, best_by)
            site = {"encoding": encoding, "best_by": best_by, "layer": layer, "magnitude": magnitude}
            for kind, table in {memories: cells, **others}.items():
                here = at_site(table, layer, magnitude)
                numbers = dict.fromkeys(NUMBERS) if here.empty else site_averages(here).to_dict()
                rows.append({**site, "memories": kind, **numbers})
    table = pd.DataFrame(rows, columns=["encoding", "best_by", "layer", "magnitude", "memories", *NUMBERS])
    return table.astype({"n_improved": "Int64", "n_prompts": "Int64"})
