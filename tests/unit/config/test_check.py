"""`make study` checks a config before Snakemake reads it, so that a file that Snakemake cannot read is one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from memory_injections.config.check import main


def test_it_prints_the_name_of_the_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "config" / "paper.yaml")]) == 0
    assert capsys.readouterr().out == "paper\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory); correct the path"),
        (bytes(range(256)), "is not text in UTF-8"),
        (b"study: 2024-99-99\n", "is neither YAML nor JSON"),
        (b"study: s\n", "config key models is missing"),
    ],
)
def test_one_sentence_for_a_wrong_config(
    content: bytes | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert printed.err.count("\n") == 1


def test_make_study_ends_with_that_sentence_before_snakemake_starts(tmp_path: Path) -> None:
    """With stand-ins for the environment, whose snakemake would leave a file."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (tmp_path / ".venv" / "study-installed").touch()
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "snakemake").write_text("#!/bin/sh\ntouch started\n", encoding="utf-8")
    (binaries / "snakemake").chmod(0o755)
    command = ["make", "--makefile", str(ROOT / "Makefile"), "--old-file", ".venv/study-installed", "study"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}

    def study(config: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, f"CONFIG={config}"], cwd=tmp_path, env=environment, text=True, capture_output=True
        )

    wrong = study(tmp_path / "missing.yaml")
    assert wrong.returncode != 0
    assert "missing.yaml cannot be read (No such file or directory); correct the path" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (tmp_path / "started").exists()
    right = study(ROOT / "config" / "config.yaml")
    assert right.returncode == 0
    assert (tmp_path / "started").exists()
    assert "results/demo/report.html" in right.stdout
