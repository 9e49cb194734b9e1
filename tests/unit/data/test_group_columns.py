"""Columns by which effects are broken down."""

import logging

import pytest
from memory_injections.data.group_columns import check_columns
from memory_injections.errors import StudyError


def test_columns_that_no_data_set_or_only_some_have(caplog: pytest.LogCaptureFixture) -> None:
    columns = {"one": ["memory", "topic"], "other": ["memory"]}
    with pytest.raises(StudyError, match=r"^config key by: no data set has a column colour \(one has memory, topic; "):
        check_columns(columns, ["relation", "colour"])
    with caplog.at_level(logging.INFO):
        check_columns(columns, ["relation", "topic"])
    assert caplog.messages == ["no effects by topic of other, which have no such column"]
