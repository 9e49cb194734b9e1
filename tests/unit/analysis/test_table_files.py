"""Tables of results: no text is a formula in a spreadsheet, and every text is read back as it was."""

import csv
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_injections.analysis.table_files import read_table, write_table

STARTS = st.sampled_from(["", "'", "''", "=", "+", "-", "@", "\t", "\n", "\r", "'=", "''@"])
TEXTS = st.builds("{}{}".format, STARTS, st.text(st.characters(codec="utf-8", exclude_characters="\x00")))


@given(texts=st.lists(TEXTS.filter(bool), min_size=1, max_size=20))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_text_is_no_formula_and_is_read_back(texts: list[str], tmp_path: Path) -> None:
    table = pd.DataFrame({"memory": texts, "effect": [-0.5] * len(texts)})
    write_table(table, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        cells = [row["memory"] for row in csv.DictReader(file)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    again = read_table(tmp_path / "table.csv")
    assert list(again["memory"]) == texts
    assert list(again["effect"]) == [-0.5] * len(texts)


def test_numbers_and_other_texts_are_written_as_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame({"memory": ["1776", "NA", "'tis"], "model": ["007", "a", "b"], "n": [1, 2, 3]})
    write_table(table, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "memory,model,n\n1776,007,1\nNA,a,2\n'tis,b,3\n"
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table, check_dtype=False)
