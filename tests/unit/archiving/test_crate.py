"""A study of three files as an RO-Crate: what is packed, under which name, and when the run was."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from memory_injections.archiving.crate import pack_study
from memory_injections.archiving.finished import FinishedStudy, MadeFile

FILES = {
    "workflow/Snakefile": "rule all:\n",
    "workflow/rules/pages.smk": "rule report:\n",
    "workflow/__pycache__/old.pyc": "",
    "study.yaml": "study: tiny\n",
    "my prompts.csv": "memory\n",
    "results/tiny/report.html": "<p>\n",
    "results/tiny/.report.html.xxh3": "0\n",
    "results/tiny/cells/1-of-1.parquet": "0\n",
    "results/tiny/old.csv": "0\n",
    "results/shared/models/m/manifest.json": "{}\n",
    "results/shared/models/m/checkpoint/model.safetensors": "0\n",
    "logs/tiny/report.log": "done\n",
}
MADE = [name for name in FILES if name.startswith("results/") and "old" not in name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (2e9, 2e9))
    return tmp_path / "project"


def pack(root: Path, config: Path = Path("study.yaml"), start: float | None = 1e9, end: float | None = 1.5e9) -> Path:
    made = [MadeFile(Path(name), "make", ("study.yaml",), start, end) for name in MADE]
    results = Path("results/tiny")
    study = FinishedStudy(
        "tiny", root, config, [Path("my prompts.csv")], results, results / "cells", [Path("logs/tiny")], made
    )
    pack_study(study, root / "tiny.zip")
    return root / "tiny.zip"


def read_run(crate: Path) -> dict[str, Any]:
    with zipfile.ZipFile(crate) as archive:
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    (run,) = (each for each in graph if each["@id"] == "#run")
    return run


def test_a_crate_has_what_the_study_made_and_its_code(root: Path) -> None:
    crate = pack(root)
    left_out = ("__pycache__", ".xxh3", "/cells/", "old.csv", "model.safetensors")
    expected = {name for name in FILES if not any(part in name for part in left_out)}
    with zipfile.ZipFile(crate) as archive:
        assert set(archive.namelist()) == expected | {"ro-crate-metadata.json", "provenance.csv", "environment.txt"}
        assert archive.read("my prompts.csv").decode() == FILES["my prompts.csv"]
    run = read_run(crate)
    assert [each["@id"] for each in run["result"]] == ["results/tiny/report.html"]
    assert (run["startTime"], run["endTime"]) == ("2001-09-09T01:46:40+00:00", "2017-07-14T02:40:00+00:00")


def test_a_config_from_elsewhere_is_packed_with_the_others(root: Path) -> None:
    config = root.parent / "elsewhere.yaml"
    config.write_text("study: tiny\n", encoding="utf-8")
    assert {"@id": "config/elsewhere.yaml"} in read_run(pack(root, config))["object"]


def test_without_times_the_results_say_when_it_ended(root: Path) -> None:
    run = read_run(pack(root, start=None, end=None))
    assert "startTime" not in run
    assert run["endTime"] == "2033-05-18T03:33:20+00:00"


def test_the_same_study_gives_the_same_bytes(root: Path) -> None:
    first = pack(root).read_bytes()
    assert pack(root).read_bytes() == first
