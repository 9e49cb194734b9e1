"""The README's findings: they are what the code writes, and what a script without the library finds."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from independent import SITES, compute_findings
from memory_injections.analysis.evidence import assess_sweeps
from memory_injections.config.study import Study
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.pages.findings import BEGIN, END, drop_unknown, format_markdown, tabulate_findings
from memory_injections.paper.claims import judge_claims
from memory_injections.paper.coverage import survey_files
from memory_injections.paper.headline import trace_headline
from memory_injections.paper.published import iterate_cells
from memory_injections.sweeps.identity import SweepId

MARGIN = Study.model_fields["margin"].default
# An effect that depends on the random division into folds, or the end of an interval on resampling, in nats.
TOLERANCE = 0.05


def read_readme() -> pd.DataFrame:
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    header, _, *rows = [[part.strip() for part in line.strip("| \n").split(" | ")] for line in text.splitlines()]
    return pd.DataFrame([row[1:] for row in rows], index=[row[0] for row in rows], columns=header[-len(rows[0]) + 1 :])


@pytest.fixture(scope="module")
def written(authors: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The findings of a re-analysis of the authors' files, as the workflow computes them."""
    folder = tmp_path_factory.mktemp("cells")
    paper = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text(encoding="utf-8"))
    cells: dict[SweepId, Path] = {}
    pairs: dict[str, pd.DataFrame] = {}
    for sweep, files in survey_files(authors).items():
        if sweep.encoding == "unembed":
            cells[sweep] = folder / f"{sweep.file_stem}.parquet"
            pd.concat(iterate_cells(sweep, map(Path, files["used"]))).to_parquet(cells[sweep])
            pairs.setdefault(sweep.dataset, normalise_pairs(read_csv(Path(files["used"][0])), "the authors' file"))
    seed = yaml.safe_load((ROOT / "config" / "reanalysis.yaml").read_text(encoding="utf-8")).get("seed", 0)
    tables = assess_sweeps(cells, pairs, seed)
    curated = {sweep: path for sweep, path in cells.items() if sweep.memories == "curated"}
    headline, _ = trace_headline(curated, paper)
    return tabulate_findings(
        {
            **tables,
            "claims": judge_claims(tables, paper, {}, MARGIN),
            "headline": headline,
        }
    )


def test_the_readme_has_what_the_code_writes(written: pd.DataFrame) -> None:
    readme = read_readme()
    assert format_markdown(readme[written.columns]) == format_markdown(drop_unknown(written))


@pytest.mark.parametrize("name", SITES)
def test_a_script_of_its_own_finds_the_same_numbers(name: str, authors: Path) -> None:
    column = read_readme()[name]
    found = compute_findings(authors, name)
    for row, numbers in found.items():
        shown = [float(number.replace(",", "")) for number in re.findall(r"[-+]?\d[\d,]*\.?\d*", column[row])]
        is_estimate = len(numbers) == 3
        tolerance = TOLERANCE if is_estimate else 0.0051 if "nats" in column[row] else 0.051
        np.testing.assert_allclose(shown, numbers, atol=tolerance, rtol=0, err_msg=row)
    assert set(column.index) - set(found) == {"the memory helps", "the site chosen most often"}
    assert column["the memory helps"] == "supported"
