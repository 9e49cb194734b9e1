"""A job's log steers no terminal; a full disk, or an input gone, ends a job with one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from memory_injections.jobs.logs import is_disk_full

JOBS = """
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from _job import start_job
from matplotlib.figure import Figure
from memory_injections.atomic_files import replace_file
from safetensors.torch import save_file
from snakemake.iocontainers import InputFiles, Params

PARAMS = Params(fromdict={"code": {}})
disk, log = map(Path, sys.argv[1:])
table = pd.DataFrame({"a": np.random.default_rng(0).uniform(size=100_000)})
figure = Figure()
figure.figimage(table["a"].to_numpy().reshape(250, 400))
writers = {
    "text": lambda path: path.write_text(300_000 * "a"),
    "csv": table.to_csv,
    "parquet": table.to_parquet,
    "safetensors": lambda path: save_file({"a": torch.ones(100_000)}, path),
    "png": lambda path: figure.savefig(path, format="png"),
}
for name, write in writers.items():
    job = SimpleNamespace(log=[str(log)], input=InputFiles(), output=[str(disk / name)], params=PARAMS)
    try:
        with start_job({"snakemake": job}), replace_file(disk / name) as whole:
            write(whole)
    except SystemExit as end:
        assert end.code == 1
    assert [path.name for path in disk.iterdir()] == ["log"]
"""


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mounted = f"mount -t tmpfs -o size=200k tmpfs {disk}"
    try:
        subprocess.run([*namespace, mounted], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no small disk can be mounted here")
    python = f"PYTHONPATH={ROOT}/workflow:{ROOT}/workflow/scripts {sys.executable}"
    (tmp_path / "jobs.py").write_text(JOBS, encoding="utf-8")
    command = f"{mounted} && {python} {tmp_path}/jobs.py {disk} {disk}/log"
    done = subprocess.run([*namespace, command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == 5, done.stderr
    for line, name in zip(said, ("text", "csv", "parquet", "safetensors", "png"), strict=True):
        assert f"ERROR no space is left to make {disk}/{name} (" in line
        assert line.endswith("; free some and run the same command again: what is finished is kept")


def test_another_error_is_no_full_disk() -> None:
    assert not is_disk_full(FileNotFoundError(2, "No such file or directory"))
    error = RuntimeError("cannot save")
    error.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(error)


GONE = """
import sys
from pathlib import Path
from types import SimpleNamespace

from _job import start_job
from snakemake.iocontainers import InputFiles, Params

log, missing = sys.argv[1:]
params = Params(fromdict={"code": {}})
job = SimpleNamespace(log=[log], input=InputFiles([missing]), output=[log], params=params)
with start_job({"snakemake": job}):
    Path(missing).read_text()
"""


def test_an_input_that_another_job_has_set_aside_is_one_sentence(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("log", "manifest.json")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT / 'workflow' / 'scripts'}"}
    done = subprocess.run([sys.executable, "-c", GONE, *paths], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"file {paths[1]} is gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_steers_no_terminal(tmp_path: Path) -> None:
    """What others have written in names and texts cannot steer the terminal that shows it."""
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
