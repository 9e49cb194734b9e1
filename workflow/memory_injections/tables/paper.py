"""Tables that compare with the paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.table_files import read_table
from memory_injections.controls.other_choices import judge_other_choices
from memory_injections.paper.claims import judge_claims
from memory_injections.paper.coverage import read_flags
from memory_injections.paper.headline import trace_headline
from memory_injections.paper.reported import read_numbers
from memory_injections.paper.scorecard import build_scorecard
from memory_injections.sweeps.cells import index_sweeps
from memory_injections.tables.registry import register_table
from memory_injections.terms import Outcome, Population


@register_table(
    {"claims": "claims of the paper", "other_choices": "verdicts at other encodings and doses"},
    reads=("judged", "coverage", "paper"),
    takes=("margin", "part_of_prompts", "judged_by"),
)
def claims(
    judged: Sequence[Path],
    coverage: Sequence[Path],
    paper: Sequence[Path],
    margin: float,
    part_of_prompts: Population,
    judged_by: Outcome,
) -> Mapping[str, pd.DataFrame]:
    """The claims of the paper, with a verdict each, from other tables of the study."""
    tables = {path.stem: read_table(path) for path in judged}
    flags = {sweep: flag for path in coverage for sweep, flag in read_flags(read_table(path)).items()}
    return {
        "claims": judge_claims(tables, read_numbers(paper[0]), flags, margin, part_of_prompts, judged_by),
        "other_choices": judge_other_choices(tables, flags, margin),
    }


@register_table(
    {"headline": "the headline by every average", "headline_prompts": "the prompts behind the headline"},
    reads=("paper_encoding_cells", "paper"),
)
def headline(paper_encoding_cells: Sequence[Path], paper: Sequence[Path]) -> Mapping[str, pd.DataFrame]:
    """The sites that the paper reports, by every rule of averaging, and the prompts that decide there."""
    sites, prompts = trace_headline(index_sweeps(paper_encoding_cells), read_numbers(paper[0]))
    return {"headline": sites, "headline_prompts": prompts}


@register_table({"scorecard": "scorecard"}, reads=("own_cells", "authors_cells", "paper"), is_quick=False)
def scorecard(own_cells: Sequence[Path], authors_cells: Sequence[Path], paper: Sequence[Path]) -> pd.DataFrame:
    """The paper, the authors' results and ours side by side."""
    ours, authors = index_sweeps(own_cells), index_sweeps(authors_cells)
    numbers = read_numbers(paper[0])
    if ours:  # the authors' cells stand beside those of the same models and prompts
        authors = {name: at for name, at in authors.items() if [name.model, name.dataset] in numbers["compared"]}
    return build_scorecard(ours, authors, numbers)
