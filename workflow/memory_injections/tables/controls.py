"""Tables of the controls of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.controls.contrasts import read_controls, tabulate_controls
from memory_injections.controls.outcomes import SCORES, tabulate_outcomes
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.tables.registry import register_table
from memory_injections.terms import Outcome


@register_table(
    {
        "controls": "controls",
        "control_contrasts": "controls, at sites chosen on other prompts",
        "specificity": "own answers against other answers",
        "both_hops": "failures with both hops known",
        "shortcuts": "prompts with a shortcut to the answer",
        "positions": "positions",
        "doses": "doses",
        "outcomes": "effects by outcome",
        "by_outcome": "verdicts by outcome",
    },
    reads=("control_cells", "control_sites", "control_texts", "control_written", "pairs"),
    takes=("kinds", "known_ranks", "seed", "margin", "outcome"),
    part="controls",
    is_quick=False,
    priority=1,  # claims and figures wait for it
)
def controls(
    control_cells: Sequence[Path],
    control_sites: Sequence[Path],
    control_texts: Sequence[Path],
    control_written: Sequence[Path],
    pairs: Sequence[Path],
    kinds: Sequence[str],
    known_ranks: Sequence[int],
    seed: int,
    margin: float,
    outcome: Outcome,
) -> Mapping[str, pd.DataFrame]:
    """What controls do beside the memories, by site, position and dose, and where both hops are known."""
    pairs_of, score = index_pairs(pairs), SCORES.get(outcome, "logp")
    files = control_cells, control_sites, control_texts
    every = list(read_controls(*files, pairs_of, kinds, seed, score, control_written))
    tables = tabulate_controls(every, known_ranks) | tabulate_outcomes(every, margin)
    # The figure shows it.
    tables["control_contrasts"]["margin"] = margin
    return tables
