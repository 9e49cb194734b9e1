"""Tables of parts of the prompts: which of them count, and effects by group."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.breakdown import COLUMNS as GROUPED
from memory_injections.analysis.breakdown import break_down
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import SITE_OF_ANY, SweepEffects, group_encodings, read_any
from memory_injections.analysis.population import count_population, read_population
from memory_injections.controls.contrasts import list_contrasts, read_controls
from memory_injections.controls.outcomes import SCORES
from memory_injections.data.group_columns import check_columns
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.paper.claims import select_cases
from memory_injections.paper.reported import find_reported_site, read_numbers
from memory_injections.sweeps.cells import index_sweeps
from memory_injections.tables.registry import register_table
from memory_injections.terms import CURATED, Outcome, Population


@register_table(
    {"population": "which prompts count"}, reads=("population", "pairs"), takes=("part_of_prompts",), part="population"
)
def population_table(
    population: Sequence[Path], pairs: Sequence[Path], part_of_prompts: Population
) -> Mapping[str, pd.DataFrame]:
    """How many prompts of each model and data set count, and what decides that."""
    return {"population": count_population(population, index_pairs(pairs), part_of_prompts)}


@register_table(
    {"breakdown": "effects by group"},
    reads=("cells", "pairs", "paper", "population", "control_cells", "control_sites", "control_texts"),
    takes=("by", "kinds", "seed", "outcome"),
    part="groups",
    is_quick=False,
)
def breakdown(
    cells: Sequence[Path],
    pairs: Sequence[Path],
    paper: Sequence[Path],
    population: Sequence[Path],
    control_cells: Sequence[Path],
    control_sites: Sequence[Path],
    control_texts: Sequence[Path],
    by: Sequence[str],
    kinds: Sequence[str],
    seed: int,
    outcome: Outcome,
) -> pd.DataFrame:
    """Effects of curated memories, and how much more they do than shuffled ones, in groups of the prompts.

    Of the sweeps that verdicts are about (`claims.select_cases`).
    """
    pairs_of, counted, numbers = index_pairs(pairs), read_population(population), read_numbers(paper[0])
    check_columns({name: list(own) for name, own in pairs_of.items()}, by)
    score = SCORES.get(outcome, "logp")
    contrasts = {
        (*results.name.values(), *place): found
        for results in read_controls(control_cells, control_sites, control_texts, pairs_of, kinds, seed, score)
        for place, found in list_contrasts(results).items()
    }
    sweeps = {sweep: path for sweep, path in index_sweeps(cells).items() if sweep.memories == CURATED}
    parts_of = {**{sweep: [sweep] for sweep in sweeps}, **group_encodings(sweeps)}
    tables = []
    for sweep in select_cases(pd.DataFrame([sweep.columns for sweep in parts_of])):
        parts = parts_of[sweep]
        own, columns = pairs_of[sweep.dataset], SITE_OF_ANY if len(parts) > 1 else SITE_OF_ANY[1:]
        effects = SweepEffects.of_cells(read_any(parts, sweeps, outcome), cluster_prompts(own), seed, columns)
        here = effects.keep(counted.get((sweep.model, sweep.dataset)))
        contrast = contrasts.get((sweep.model, sweep.dataset, sweep.encoding, sweep.relative))
        rows = pd.DataFrame(break_down(here, own, by, find_reported_site(sweep, numbers), contrast))
        tables.append(rows.assign(**sweep.columns))
    return pd.concat([pd.DataFrame(columns=GROUPED), *filter(len, tables)], ignore_index=True)[GROUPED]
