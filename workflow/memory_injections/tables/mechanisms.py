"""Tables of mechanisms, averaged over prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.mechanisms.averages import (
    average_blocks,
    average_direct_effects,
    average_patches,
    average_side_effects,
    compare_with_attribution,
)
from memory_injections.tables.registry import register_table


@register_table(
    {
        "patching": "patched heads",
        "patching_agreement": "patched heads against attribution",
        "direct_effects": "direct and indirect effects",
        "logit_lens": "logit lens after the injection",
        "side_effects": "side effects",
    },
    reads=("patching", "direct_effects", "logit_lens", "side_effects", "texts", "targets", "pairs"),
    takes=("seed",),
    part="mechanisms",
    is_quick=False,
)
def mechanisms(
    patching: Sequence[Path],
    direct_effects: Sequence[Path],
    logit_lens: Sequence[Path],
    side_effects: Sequence[Path],
    texts: Sequence[Path],
    targets: Sequence[Path],
    pairs: Sequence[Path],
    seed: int,
) -> Mapping[str, pd.DataFrame]:
    """Patched heads, direct effects, the logit lens and side effects of all models and data sets."""
    clusters = {name: cluster_prompts(own) for name, own in index_pairs(pairs).items()}
    patches, heads = _read_all(patching), _read_all(targets)
    return {
        "patching": average_patches(patches, heads),
        "patching_agreement": compare_with_attribution(patches, heads, seed),
        "direct_effects": average_direct_effects(_read_all(direct_effects), clusters, seed),
        "logit_lens": average_blocks(_read_all(logit_lens), clusters, seed),
        "side_effects": average_side_effects(_read_all(side_effects), _read_all(texts)),
    }


def _read_all(paths: Sequence[Path]) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, paths), ignore_index=True)
