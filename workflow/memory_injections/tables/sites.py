"""Tables of the sites of all sweeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.evidence import assess_sweeps
from memory_injections.analysis.paper_tables import build_table3
from memory_injections.analysis.population import read_population
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.sweeps.cells import index_sweeps
from memory_injections.tables.registry import register_table
from memory_injections.terms import Outcome


@register_table({"table3": "3: best sites"}, reads=("cells",), is_quick=False)
def table3(cells: Sequence[Path]) -> pd.DataFrame:
    """Table 3: the best sites of curated memories, with random memories at the same sites."""
    return build_table3(index_sweeps(cells))


# The longest of the tables, and claims and pages wait for it.
@register_table(
    {
        "evidence": "evidence",
        "contrasts": "curated against random, tested",
        "sites": "every site",
        "explicit_prompts": None,
    },
    reads=("cells", "pairs", "population"),
    takes=("seed", "outcome"),
    is_quick=False,
    priority=1,
)
def evidence(
    cells: Sequence[Path], pairs: Sequence[Path], population: Sequence[Path], seed: int, outcome: Outcome
) -> Mapping[str, pd.DataFrame]:
    """Effects at sites chosen on other prompts, with intervals and tests, and contrasts with random words."""
    return assess_sweeps(index_sweeps(cells), index_pairs(pairs), seed, read_population(population), outcome)
