"""The simulation behind the table of coverage: its cluster sizes are real, and its table is what it writes."""

import re
from pathlib import Path

import interval_coverage
import numpy as np
import pandas as pd
import pytest
from conftest import PAIRS, ROOT
from interval_coverage import BEGIN, COVERAGE, DISTRIBUTIONS, END, SIZES, simulate
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv

FILES = {"hand": "handwritten_obscure_explicit_data.csv", "2wmh": "multi_hop_1000.csv"}


def check_sizes(path: Path, name: str) -> None:
    clusters = cluster_prompts(normalise_pairs(read_csv(path), name))
    assert clusters.value_counts().tolist() == SIZES[name].tolist()


def test_the_clusters_have_the_sizes_of_the_own_pairs() -> None:
    check_sizes(PAIRS, "own pairs")


@pytest.mark.parametrize("name", FILES)
def test_the_clusters_have_the_sizes_of_the_authors_data(name: str, authors_data: Path) -> None:
    check_sizes(authors_data / FILES[name], name)
    assert set(SIZES) == {"own pairs", *FILES}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions_have_mean_0_and_variance_1(distribution: str) -> None:
    drawn = DISTRIBUTIONS[distribution](np.random.default_rng(0), (1_000_000,))
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("distribution", ["normal", "skewed (exponential)"])
def test_coverage_of_few_unequal_clusters(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval_coverage, "N_STUDIES", 400)
    row = simulate("2wmh", distribution, seed=1)
    assert float(str(row["coverage"])) >= COVERAGE[distribution] - 0.03
    assert float(str(row["wrongly equivalent"])) <= 0.05


def test_the_documented_table_has_every_case_and_meets_what_is_asked_for() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [[part.strip() for part in line.strip("| \n").split(" | ")] for line in text.splitlines()[2:]]
    assert {(row[0], row[2]) for row in rows} == {(data, name) for data in SIZES for name in DISTRIBUTIONS}
    table = pd.DataFrame([[float(re.sub("%$", "", text)) for text in row[3:]] for row in rows])
    missed = (table[0] < table[1]) | (table[2] > table[3])
    assert [tuple(rows[index])[:3:2] for index in missed[missed].index] == list(interval_coverage.SHORTFALLS)


def test_the_table_replaces_what_is_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}\nafter\n", encoding="utf-8")
    interval_coverage.write_table(pd.DataFrame([simulate("own pairs", "normal")]), page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| own pairs | 72 | normal | 9" in text
    assert "old" not in text
