"""An interrupted job keeps what it has finished."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from memory_injections.jobs.unfinished import UnfinishedParts


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "input").write_text("an input")
    return {"input": tmp_path / "input"}


def measured(number: int, calls: list[int]) -> Callable[[], pd.DataFrame]:
    def measure() -> pd.DataFrame:
        calls.append(number)
        return pd.DataFrame({"number": [number], "text": [f"piece {number}"]})

    return measure


def interrupt() -> pd.DataFrame:
    raise KeyboardInterrupt


def test_an_interrupted_job_measures_only_what_is_missing(tmp_path: Path, inputs: dict[str, Path]) -> None:
    calls: list[int] = []
    unfinished = UnfinishedParts(tmp_path / "unfinished", inputs, {"seed": 0})
    first = unfinished.keep("first", measured(1, calls))
    with pytest.raises(KeyboardInterrupt):
        unfinished.keep("second", interrupt)
    again = UnfinishedParts(tmp_path / "unfinished", inputs, {"seed": 0})
    pd.testing.assert_frame_equal(again.keep("first", measured(1, calls)), first)
    again.keep("second", measured(2, calls))
    assert calls == [1, 2]
    again.discard()
    assert not (tmp_path / "unfinished").exists()


def test_parts_of_other_inputs_or_settings_are_not_used(tmp_path: Path, inputs: dict[str, Path]) -> None:
    calls: list[int] = []
    UnfinishedParts(tmp_path, inputs, {"seed": 0}).keep("first", measured(1, calls))
    UnfinishedParts(tmp_path, inputs, {"seed": 1}).keep("first", measured(2, calls))
    inputs["input"].write_text("something else")
    UnfinishedParts(tmp_path, inputs, {"seed": 0}).keep("first", measured(3, calls))
    assert calls == [1, 2, 3]


def test_a_damaged_piece_is_measured_again(tmp_path: Path, inputs: dict[str, Path]) -> None:
    calls: list[int] = []
    unfinished = UnfinishedParts(tmp_path / "unfinished", inputs, {})
    unfinished.keep("first", measured(1, calls))
    (file,) = (tmp_path / "unfinished").rglob("first.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert unfinished.keep("first", measured(1, calls))["number"].tolist() == [1]
    assert calls == [1, 1]
