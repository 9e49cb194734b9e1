"""The studies that use every key of the config, in every form of its value, run from nothing to their pages."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import fork_server
import pandas as pd
import pytest
from authors_files import write_authors_files
from config_forms import SCHEMA
from conftest import PAIRS, WORDS, Run, make_run
from covering_studies import RELATIVE, build_studies
from field_tables import HOPPING_TOO_LATE, MQUAKE, write_table
from hub import COMMIT, make_repos, serve
from memory_injections.analysis.averages import REGISTERED
from memory_injections.controls.kinds import CONTROLS
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.figures.registry import list_figures
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.paper.claims import CLAIMS
from memory_injections.tables.registry import list_table_jobs
from memory_injections.terms import PAPER_ENCODING
from tiny_gguf import write_wheel
from two_wiki_files import write_records

PARTS = {"controls": "control_contrasts.csv", "mechanisms": "side_effects.csv"}
OF_PROMPTS = {"by": "breakdown.csv", "leave_out": "population.csv"}


def hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def commit_authors_files(folder: Path) -> str:
    """Put the authors' files under version control; return the commit."""
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "Results"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, text=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def place(
    tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, dict[str, Any]], Run]]:
    """A folder with all files of the studies, the studies, and what runs them."""
    folder = tmp_path_factory.mktemp("every-key")
    shutil.copytree(tiny_models["gpt2"], folder / "gpt2")
    pd.read_csv(PAIRS).assign(entity="the first president").to_csv(folder / "pairs.csv", index=False)
    shutil.copy(WORDS, folder / "words.csv")
    write_authors_files(folder / "theirs")
    (folder / "theirs" / "field").mkdir()
    cases = write_table(MQUAKE, folder / "theirs" / "field" / "mquake.json")
    shutil.copy(cases, folder)
    write_table(HOPPING_TOO_LATE, folder / "theirs" / "field" / "two_hop.csv")
    write_records(folder, "jsonl")
    archive, member = write_records(folder, "zip")
    wheel, environment = write_wheel(folder / "wheels", tiny_models["llama"] / "tokenizer.json")
    files = {"pairs.csv": PAIRS.read_bytes(), "words.csv": WORDS.read_bytes(), "data.zip": archive.read_bytes()}
    files["mquake.json"] = cases.read_bytes()
    with serve(make_repos(folder / "repositories", tiny_models["gpt2"]), files) as hub:
        at = {
            "hub": hub.url,
            "hub_commit": COMMIT,
            "pairs_sha256": hash_bytes(files["pairs.csv"]),
            "words_sha256": hash_bytes(files["words.csv"]),
            "zip_sha256": hash_bytes(files["data.zip"]),
            "cases_sha256": hash_bytes(files["mquake.json"]),
            "member": str(member),
            "git": str(folder / "theirs"),
            "git_commit": commit_authors_files(folder / "theirs").strip(),
            "gguf_sha256": wheel["sha256"],
        }
        environment |= hub.describe_client(folder / "home")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            (folder / "server").mkdir()
            fork_server.start(folder / "server")
            yield folder, build_studies(at), make_run(folder / "server" / "python")


def read_sweeps(page: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The sweeps that an explorer shows, by memories and encoding."""
    index = json.loads(re.findall(r'id="index">(.*?)</script>', page)[0])
    return {(sweep["memories"], sweep["encoding"]): sweep for sweep in index["sweeps"]}


@pytest.mark.parametrize("name", ["whole", "hub", "field", "made", "again"])
def test_a_study_runs_to_its_pages(name: str, place: tuple[Path, dict[str, dict[str, Any]], Run]) -> None:
    folder, studies, snakemake = place
    study = studies[name]
    done = snakemake(folder, study)
    assert done.returncode == 0, done.stderr
    results = folder / "results" / name
    report, explorer = (results / f"{page}.html" for page in ("report", "explorer"))
    assert "Traceback" not in done.stderr
    assert read_sweeps(explorer.read_text(encoding="utf-8")).keys() == {
        tuple(path.stem.split(".", 1)) for path in (results / "injections").rglob("*.parquet")
    }
    for part, table in PARTS.items():
        asked = study.get(part, SCHEMA["properties"][part]["default"]) if name != "again" else False
        assert (results / "tables" / table).exists() == bool(asked)
    for key, table in OF_PROMPTS.items():
        assert (results / "tables" / table).exists() == bool(study.get(key, SCHEMA["properties"][key]["default"]))
    assert (results / "walkthrough.html").exists() == (name == "whole")
    if name == "made":
        check_part(results)
    if name == "field":
        check_field(folder / "results")
    if name == "whole":
        check_whole(results, report.read_text(encoding="utf-8"), explorer.read_text(encoding="utf-8"))


def check_part(results: Path) -> None:
    """Evidence and controls are over the same prompts at the same sites, those that count; some data sets have none."""
    evidence, contrasts, population = (
        pd.read_csv(results / f"tables/{name}.csv") for name in ("evidence", "control_contrasts", "population")
    )
    evidence = evidence.merge(population[["model", "dataset", "n_counted"]], on=["model", "dataset"])
    assert (evidence["n_prompts"] == evidence["n_counted"]).all()
    assert set(evidence["n_counted"]) == {0, 2}
    both = evidence.merge(contrasts, on=["model", "dataset", "encoding"], suffixes=("", "_contrast"))
    assert len(both) == len(contrasts) == (evidence["n_counted"] > 0).sum()
    assert (both["n_prompts_contrast"] == both["n_counted"]).all()
    assert both["curated_effect"].tolist() == pytest.approx(both["effect"].tolist(), abs=1e-4)


def check_registered(results: Path, report: str) -> None:
    """Whatever is registered is in the results."""
    tables = {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}
    figures = {path.name.split(".")[0] for path in (results / "figures").glob("*.png")}
    made = {table for job in list_table_jobs().values() if job.part != "population" for table in job.tables}
    assert made <= tables.keys()
    assert list_figures().keys() - figures == {"headline"}  # which only a model of the paper has
    assert set(tables["evidence"]["encoding"]) == {*ENCODINGS, "any"}
    assert set(tables["controls"]["encoding"]) == set(ENCODINGS)
    assert set(tables["controls"]["control"]) == set(CONTROLS)
    for name, own in REGISTERED.items():
        assert tables["sites"][name].notna().any()
        assert own.label in report
    said = set(tables["claims"]["claim"])
    assert {claim.label for name, claim in CLAIMS.items() if name not in ("headline", "site")} <= said


def check_outcomes(results: Path) -> None:
    """The sweep that is asked for has whole answers, and verdicts rest on the answers that the model writes."""
    swept = pd.read_parquet(results / "injections/gpt2/2wmh/curated.unembed.parquet")
    other = pd.read_parquet(results / "injections/gpt2/2wmh/curated.embed.parquet")
    assert swept["logp_whole_injected"].notna().all()
    assert (swept["logp_whole_injected"] <= swept["logp_injected"] + 1e-5).all()
    assert other["logp_whole_injected"].isna().all()
    tables = {name: pd.read_csv(results / f"tables/{name}.csv") for name in ("outcomes", "by_outcome", "claims")}
    for name in ("outcomes", "by_outcome"):
        assert set(tables[name]["outcome"]) == {"first_token", "whole_answer", "generation"}
    assert set(tables["outcomes"].query("outcome == 'whole_answer'")["control"]) == {"curated", "explicit", *CONTROLS}
    helps = tables["claims"].query("claim == @CLAIMS['helps'].label")
    assert helps["evidence"].str.contains("the share of right written answers").all()


def check_field(results: Path) -> None:
    """A table is the same pairs from everywhere, and a pair keeps the number of its row up to the last table."""
    cases = ("cases", "cases-web", "cases-hub", "cases-git")
    first, *others = (
        read_pairs(results / "shared" / "datasets" / f"{name}.csv").drop(columns="dataset") for name in cases
    )
    for other in others:
        pd.testing.assert_frame_equal(other, first)
    assert first["prompt_id"].tolist() == [1, 3]
    cells = pd.read_parquet(results / "field" / "injections" / "gpt2" / "cases" / "curated.unembed.parquet")
    assert sorted(set(cells["prompt_id"])) == [1, 3]
    facts = read_pairs(results / "shared" / "datasets" / "facts.csv")
    assert json.loads(facts.loc[0, "answer_aliases"]) == ["Motihari", "Motīhāri", "Motihari, Bihar"]
    assert facts.loc[0, "first_hop_prompt"] == "The author of the novel Nineteen Eighty-Four is"


def check_whole(results: Path, report: str, explorer: str) -> None:
    """Relative doses are on both pages, close doses stay apart, zero changes nothing, and nothing is the paper's."""
    check_registered(results, report)
    shown, evidence = read_sweeps(explorer), pd.read_csv(results / "tables" / "evidence.csv")
    for memories, encoding in RELATIVE:
        assert (shown[memories, encoding]["dose"], shown[memories, encoding]["has_cells"]) == ("dose", True)
        assert f"gpt2.2wmh.{memories}.{encoding}" in report
        assert evidence.query("memories == @memories and encoding == @encoding")["effect"].notna().all()
    sites = pd.read_csv(results / "tables" / "sites.csv", float_precision="round_trip")
    own = sites[(sites["memories"] == "curated") & (sites["encoding"] == PAPER_ENCODING) & ~sites["relative"]]
    assert sorted(set(own["magnitude"])) == [0, 1, 1.000000001]
    assert (own.groupby(["layer", "magnitude"])["n_prompts"].sum() == 5).all()
    assert own.loc[own["magnitude"] == 0, "effect"].abs().max() < 1e-5
    side_effects = pd.read_csv(results / "tables" / "side_effects.csv")
    assert (side_effects.loc[side_effects["magnitude"] == 0, "other_kl"] < 1e-6).all()
    check_outcomes(results)
    claims = set(pd.read_csv(results / "tables" / "claims.csv")["claim"])
    assert CLAIMS["site"].label not in claims
    assert not any(claim.startswith(CLAIMS["headline"].label.partition("{")[0]) for claim in claims)
    assert pd.read_csv(results / "tables" / "headline.csv").empty
    assert "There is no comparison with the paper's numbers" in unescape(report)
    assert not any(sweep["reported"] for sweep in shown.values())
    assert pd.read_csv(results / "tables" / "scorecard.csv")[["paper", "authors"]].isna().all(axis=None)
