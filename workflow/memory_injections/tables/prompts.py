"""Tables of the prompts themselves, without an injection."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.paper_tables import (
    build_table1,
    count_text_checks,
    list_text_checks,
    score_prompts_of_cache,
    score_prompts_of_cells,
)
from memory_injections.tables.registry import register_table


@register_table({"table1": "1: data sets"}, reads=("scored_prompts",), takes=("source",))
def table1(scored_prompts: Sequence[Path], source: Literal["models", "published"]) -> pd.DataFrame:
    """Table 1: how well each model answers each kind of prompt.

    Prompts come from activation caches or from the authors' sweeps, which all repeat them: each counts once.
    """
    if source == "models":
        return build_table1(pd.concat([score_prompts_of_cache(ActivationCache(path)) for path in scored_prompts]))
    prompts: dict[tuple[str, str], pd.DataFrame] = {}
    for path in scored_prompts:
        table = score_prompts_of_cells(pd.read_parquet(path))
        prompts.setdefault((table["model"].iloc[0], table["dataset"].iloc[0]), table)
    return build_table1(pd.concat(prompts.values()).astype({"model": str, "dataset": str}))


@register_table(
    {"text_check": "text check", "text_check_pairs": "text check, every pair"}, reads=("text_checks",), part="models"
)
def text_check_tables(text_checks: Sequence[Path]) -> Mapping[str, pd.DataFrame]:
    """The text check of all models and data sets: what was found how often, and every pair's tokens."""
    tables = [pd.read_parquet(path) for path in text_checks]
    return {"text_check": count_text_checks(tables), "text_check_pairs": list_text_checks(tables)}
