"""A job's log: what others have written in names and texts cannot steer the terminal that shows it."""

import subprocess
import sys
from pathlib import Path


def test_a_log_steers_no_terminal(tmp_path: Path) -> None:
    code = (
        "import logging, sys; from memory_injections.jobs.logs import start_log; start_log(sys.argv[1]);"
        r"logging.warning('ignoring %s', 'a\x1b]0;title\x07\u202eb'); logging.info('two\nlines')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, text=True, check=True
    )
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert done.stderr == text
    assert text.splitlines()[0].endswith(r"WARNING ignoring a\x1b]0;title\x07\u202eb")
    assert text.endswith("INFO two\nlines\n")
