"""Tables of the controls of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.controls.contrasts import read_controls, tabulate_controls
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.tables.registry import register_table


@register_table(
    {
        "controls": "controls",
        "control_contrasts": "controls, at sites chosen on other prompts",
        "specificity": "own answers against other answers",
        "both_hops": "failures with both hops known",
        "shortcuts": "prompts with a shortcut to the answer",
        "positions": "positions",
        "doses": "doses",
    },
    reads=("control_cells", "control_sites", "control_texts", "pairs"),
    takes=("kinds", "known_ranks", "seed", "margin"),
    part="controls",
    is_quick=False,
)
def controls(
    control_cells: Sequence[Path],
    control_sites: Sequence[Path],
    control_texts: Sequence[Path],
    pairs: Sequence[Path],
    kinds: Sequence[str],
    known_ranks: Sequence[int],
    seed: int,
    margin: float,
) -> Mapping[str, pd.DataFrame]:
    """What controls do beside the memories, by site, position and dose, and where both hops are known."""
    every = read_controls(control_cells, control_sites, control_texts, index_pairs(pairs), kinds, seed)
    tables = tabulate_controls(list(every), known_ranks)
    # The figure shows it.
    tables["control_contrasts"]["margin"] = margin
    return tables
