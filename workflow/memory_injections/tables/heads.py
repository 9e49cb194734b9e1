"""Tables of what attention heads say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.paper_tables import (
    build_table2,
    compare_informative_heads,
    count_informative_heads,
)
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.tables.registry import register_table


@register_table(
    {
        "table2": "2: what heads say",
        "informative_heads": "prompts with an informative head",
        "informative_contrasts": "informative heads of explicit prompts, obscure prompts and chance",
    },
    reads=("top", "targets", "pairs"),
    takes=("seed",),
    part="models",
    is_quick=False,
)
def table2(
    top: Sequence[Path], targets: Sequence[Path], pairs: Sequence[Path], seed: int
) -> Mapping[str, pd.DataFrame]:
    """Table 2: example prompt pairs with their most informative heads, how many prompts have one, and by chance.

    The authors published no heads, so only a study with models has these tables.
    """
    own = index_pairs(pairs)
    return {
        "table2": build_table2(zip(top, targets, strict=True), own),
        "informative_heads": count_informative_heads(targets),
        "informative_contrasts": compare_informative_heads(targets, own, seed),
    }
