"""Hits, rescued and broken answers, against counts by hand and McNemar's test by its definition."""

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.hits import HIT_COLUMNS, count_hits, count_hits_by_site
from scipy.stats import binomtest


def test_rescued_and_broken_answers() -> None:
    before = [0, 0, 0, 3, 7, 20, 20, 1, 1]
    after = [0, 5, 9, 0, 0, 0, 3, 0, 12]
    found = count_hits(pd.DataFrame({"rank_obscure": before, "rank_injected": after}))
    assert found[["n_missed", "n_rescued", "n_hit", "n_broken"]].tolist() == [6, 4, 3, 2]
    assert found[["hits_1_before", "hits_5_before", "hits_10_before"]].tolist() == [3 / 9, 6 / 9, 7 / 9]
    assert found[["hits_1", "hits_5", "hits_10"]].tolist() == [5 / 9, 6 / 9, 8 / 9]
    assert found["p_mcnemar"] == pytest.approx(binomtest(4, 6).pvalue)


def test_without_ranks_hits_are_missing() -> None:
    cells = pd.DataFrame({"rank_obscure": [pd.NA] * 2, "rank_injected": [pd.NA] * 2}, dtype="Int32")
    assert count_hits(cells)[HIT_COLUMNS].isna().all()


def test_sites_are_counted_each_by_itself() -> None:
    cells = pd.DataFrame({"layer": [0, 0, 1, 1], "magnitude": 1.0, "rank_obscure": 2, "rank_injected": [0, 3, 0, 0]})
    assert count_hits_by_site(cells)["n_rescued"].tolist() == [1, 2]
    assert np.isfinite(count_hits_by_site(cells)["p_mcnemar"]).all()
