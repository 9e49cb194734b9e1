"""A run that ends early ends with a sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from memory_injections.jobs.endings import INTERRUPTED, find_errors

LOG = """2026-12-01 05:16:25,375 INFO reading
2026-12-01 05:16:25,376 ERROR config key injection.layers: layer 99 is not there; correct it
"""


def end(folder: Path, code: str) -> list[str]:
    code = f"from memory_injections.jobs.endings import *; end_with_a_sentence(); {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, capture_output=True)
    return done.stderr.splitlines()


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    lines = end(tmp_path, "import os; os.kill(os.getpid(), signal.SIGINT)")
    assert lines[-1] == INTERRUPTED


def test_the_errors_of_jobs_come_last(tmp_path: Path) -> None:
    (tmp_path / "logs/mine").mkdir(parents=True)
    for name in ("old", "one", "two"):
        (tmp_path / f"logs/mine/{name}.log").write_text(LOG)
    os.utime(tmp_path / "logs/mine/old.log", (1, 1))
    assert len(find_errors(tmp_path / "logs", 0)) == 1
    assert end(tmp_path, "raise SystemExit('Snakemake')")[-1] == "Snakemake"  # they are from before this run
    again = "p = Path('logs/mine/one.log'); os.utime(p, (2**32, 2**32)); print('Snakemake', file=sys.stderr)"
    assert end(tmp_path, f"import os; {again}") == ["Snakemake", "", LOG.splitlines()[-1].partition(" ERROR ")[2]]
    assert end(tmp_path, "pass") != []


def test_ctrl_c_in_a_job_is_no_traceback(tmp_path: Path) -> None:
    code = "from memory_injections.jobs.endings import hide_interrupts; hide_interrupts(); "
    for then, shown in (("raise KeyboardInterrupt", False), ("raise ValueError", True)):
        done = subprocess.run([sys.executable, "-c", code + then], cwd=tmp_path, text=True, capture_output=True)
        assert ("Traceback" in done.stderr) == shown
        assert done.returncode == (1 if shown else -signal.SIGINT)
