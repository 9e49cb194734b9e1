"""Hits: whether the answer's first token is among the most probable ones, and what an injection changes about it.

The paper's title speaks of correcting failures. A failure that is corrected is *rescued*; an answer that was right
and is lost is *broken*.
"""

import pandas as pd

# A hit at k: the answer's rank, counted from 0, is below k.
HITS_AT = (1, 5, 10)
BEFORE, AFTER = [f"hits_{k}_before" for k in HITS_AT], [f"hits_{k}" for k in HITS_AT]
HIT_COLUMNS = [*BEFORE, *AFTER, "n_missed", "n_rescued", "n_hit", "n_broken", "p_mcnemar"]


def measure_gain_of_hits(cells: pd.DataFrame) -> pd.Series:
    """Return +1 where the answer hits at 1 only after the injection (rescued), -1 if only before (broken), else 0."""
    before, after = (cells[name] < HITS_AT[0] for name in ("rank_obscure", "rank_injected"))
    return after.astype(int) - before.astype(int)


def count_hits(cells: pd.DataFrame) -> pd.Series:
    """Count hits over cells, one for each prompt, before and after the injection.

    hits_<k>_before and hits_<k>: the share of prompts whose answer ranks below k. At k = 1: of the n_missed prompts
    that miss before, n_rescued hit after; of the n_hit that hit before, n_broken miss after. p_mcnemar is McNemar's
    exact test that both happen equally often. All are missing where no ranks are known, as in the authors' results.
    """
    return _count_hits(cells.assign(all=0), ["all"]).iloc[0].rename(None)


def count_hits_by_site(cells: pd.DataFrame) -> pd.DataFrame:
    """Return `count_hits` of every (layer, magnitude), the index of the table."""
    return _count_hits(cells, ["layer", "magnitude"])


def compute_mcnemar(n_first_only: int, n_second_only: int) -> float:
    """Return the p-value of McNemar's exact test that what only the first has is as frequent as the reverse."""
    from statsmodels.stats.contingency_tables import mcnemar  # most of a second, which readers of hits do without

    return float(mcnemar([[0, n_first_only], [n_second_only, 0]], exact=True).pvalue)


def _count_hits(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    known = cells.dropna(subset=["rank_obscure", "rank_injected"])
    before, after = known["rank_obscure"], known["rank_injected"]
    was, is_now = before < HITS_AT[0], after < HITS_AT[0]
    shares = {
        **{name: before < k for name, k in zip(BEFORE, HITS_AT, strict=True)},
        **{name: after < k for name, k in zip(AFTER, HITS_AT, strict=True)},
    }
    numbers = {"n_missed": ~was, "n_rescued": ~was & is_now, "n_hit": was, "n_broken": was & ~is_now}
    groups = [known[name] for name in by]
    counted = pd.DataFrame(shares).groupby(groups).mean().join(pd.DataFrame(numbers).groupby(groups).sum())
    counted["p_mcnemar"] = [
        compute_mcnemar(broken, rescued)
        for rescued, broken in zip(counted["n_rescued"], counted["n_broken"], strict=True)
    ]
    return counted.astype("float64").reindex(cells.groupby(by).size().index)[HIT_COLUMNS]


def tabulate_ranks(texts: pd.DataFrame) -> pd.DataFrame:
    """Return the rank of the answer (of first hops: the memory) after each text, a column each, by prompt_id."""
    ranks = texts.pivot(index="prompt_id", columns="text", values="rank")
    return ranks.reindex(columns=[*{*ranks.columns, "first_hop"}])


def rank_hops(ranks: pd.DataFrame) -> pd.Series:
    """Return the worse rank of both hops, by prompt_id: a model knows both if it is below the rank that it knows.

    `ranks` are those of `tabulate_ranks`; where no description is found, the rank is missing.
    """
    return ranks[["first_hop", "explicit"]].max(axis="columns", skipna=False)
