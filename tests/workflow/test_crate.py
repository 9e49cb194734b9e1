"""`make crate`: a finished study becomes an archive that describes itself; an unfinished one ends with a sentence."""

import hashlib
import json
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from checkout import Checkout
from memory_injections.checksums import ASIDE
from rocrate.rocrate import ROCrate

CRATE = "results/tiny.crate.zip"


@pytest.fixture(scope="module")
def crate(finished: Checkout) -> Path:
    packed = finished.pack()
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout == f"The study as an RO-Crate: {CRATE}\n"
    return finished.folder / CRATE


@pytest.fixture(scope="module")
def entities(crate: Path) -> dict[str, dict[str, Any]]:
    """What the crate says of itself, by id."""
    with zipfile.ZipFile(crate) as archive:
        return {each["@id"]: each for each in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}


def test_every_file_is_what_the_crate_says(crate: Path, entities: dict[str, dict[str, Any]]) -> None:
    with zipfile.ZipFile(crate) as archive:
        described = {name for name, each in entities.items() if "File" in each["@type"]}
        assert described == set(archive.namelist()) - {"ro-crate-metadata.json"}
        texts = {"provenance.csv", "environment.txt"}
        assert {name for name in described if "sha256" not in entities[name]} == texts
        for name in described - texts:
            assert hashlib.sha256(archive.read(name)).hexdigest() == entities[name]["sha256"], name
        assert f"snakemake=={version('snakemake')}\n" in archive.read("environment.txt").decode()


def test_the_crate_has_all_results_and_what_made_them(
    finished: Checkout, crate: Path, entities: dict[str, dict[str, Any]]
) -> None:
    own = (path for path in (finished.folder / "results" / "tiny").rglob("*") if path.is_file())
    names = {
        path.relative_to(finished.folder).as_posix()
        for path in own
        if path.suffix != ASIDE and not path.name.startswith(".")
    }
    run, workflow = entities["#run"], entities["workflow/Snakefile"]
    results = {each["@id"] for each in run["result"]}
    assert results == {name for name in names if not name.startswith("results/tiny/cells/")}
    assert run["instrument"] == entities["./"]["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert "ComputationalWorkflow" in workflow["@type"]
    inputs = {each["@id"] for each in run["object"]}
    assert inputs == {
        *("study.yaml", "mine.csv", "words.csv", "results/shared/datasets/mine.csv", "results/shared/datasets/web.csv"),
        *(f"results/shared/models/llama/{name}.json" for name in ("manifest", "check")),
    }
    assert datetime.fromisoformat(run["startTime"]) < datetime.fromisoformat(run["endTime"]) <= datetime.now(UTC)
    assert {"workflow/rules/pages.smk", "resources/paper.yaml", "logs/tiny/report.log"} < entities.keys()
    with zipfile.ZipFile(crate) as archive:
        jobs = pd.read_csv(archive.open("provenance.csv")).set_index("file")
    report = jobs.loc["results/tiny/report.html"]
    assert report["rule"] == "report"
    assert "results/tiny/tables/claims.csv" in report["inputs"].split("; ")
    assert results <= set(jobs.index)


def test_other_programs_can_read_it(crate: Path) -> None:
    read = ROCrate(crate)
    assert read.mainEntity["programmingLanguage"]["name"] == "Snakemake"
    profiles = {profile.id for profile in read.root_dataset["conformsTo"]}
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in profiles
    assert read.get("#run")["actionStatus"] == "http://schema.org/CompletedActionStatus"


def test_the_same_study_gives_the_same_bytes(finished: Checkout, crate: Path) -> None:
    before = crate.read_bytes()
    assert finished.pack().returncode == 0
    assert crate.read_bytes() == before


def test_an_unfinished_study_is_not_packed(edited: Checkout, crate: Path) -> None:
    before = crate.read_bytes()
    edited.write("study.yaml", yaml.safe_dump(edited.config | {"seed": 1}))
    packed = edited.pack()
    assert packed.returncode == 1
    assert packed.stderr.startswith("memory-injections: study tiny is not finished: ")
    assert packed.stderr.count("\n") == 1
    assert crate.read_bytes() == before
