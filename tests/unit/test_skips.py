"""The line behind a run of the tests that says what it left out."""

import pytest
from skips import SLURM, describe_skips


def make_skip(reason: str) -> pytest.TestReport:
    return pytest.TestReport("test", ("file", 1, "test"), {}, "skipped", ("file", 1, f"Skipped: {reason}"), "setup")


def test_skips_are_counted_by_what_they_need() -> None:
    reasons = ["needs the network: no host", "needs a GPU", "needs a GPU"]
    said = "Not tested here: needs a GPU (2 tests); needs the network (1 test)"
    assert describe_skips(map(make_skip, reasons), is_whole=False) == said
    assert describe_skips(map(make_skip, reasons), is_whole=True) == f"{said}; {SLURM}"
    assert describe_skips([], is_whole=True) == f"Not tested here: {SLURM}"
    assert describe_skips([], is_whole=False) == ""
