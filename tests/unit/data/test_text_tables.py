"""CSV files as tables of text."""

from pathlib import Path

import pytest
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError


@pytest.mark.parametrize("content", [b"a,b\n1,2,3\n", b"a,b\n1,2,\n", b"a,b\n\xe9,2\n", b""])
def test_a_csv_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(StudyError, match=r"bad.csv is not a CSV table in UTF-8 \(.*\); repair it"):
        read_csv(tmp_path / "bad.csv")
