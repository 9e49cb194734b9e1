"""The authors' published results, from their own files to verdicts."""

import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, Run
from memory_injections.analysis.averages import at_site, site_averages
from memory_injections.analysis.claims import claims
from memory_injections.analysis.scorecard import scorecard
from memory_injections.analysis.tables import prompts_of_cells, table1
from memory_injections.errors import StudyError
from memory_injections.sweeps.identity import SweepId
from memory_injections.sweeps.published import (
    CURATED_RESULTS,
    RANDOM_RESULTS,
    PublishedSweep,
    find_sweeps,
    iterate_cells,
)
from memory_injections.sweeps.published_sources import fetch

ARCHIVE = SHARED / "reference" / "authors-results.tar.xz"
HOOK = "memory_tweaker_unembed_head_hook"
PAPER = {"headline": 424, "sites": {"gpt2": {"hand": [1, 2]}}}


@pytest.fixture(scope="session")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the authors' results that lies beside the project's clone where its CI runs."""
    if not ARCHIVE.is_file():
        pytest.skip(f"no published results at {ARCHIVE}")
    folder = tmp_path_factory.mktemp("authors")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def cells_of(root: Path, *names: str) -> pd.DataFrame:
    wanted = dict(zip(("model", "dataset", "memories", "encoding"), names, strict=True))
    return pd.concat(iterate_cells(next(PublishedSweep(**s) for s in find_sweeps(root) if wanted.items() <= s.items())))


@pytest.mark.parametrize(
    ("model", "dataset", "site", "averages"),
    [
        ("gpt2", "hand", (7, 3), (65.0, 49.8, 24.1, 17.9)),
        ("gpt2-large", "hand", (14, 10), (125.7, 53.1, 1.2, 6.2)),
        ("gpt2", "2wmh", (6, 5), (1062.3, 247.1, -14.3, -10.1)),
    ],
)
def test_averages_at_the_authors_sites(
    authors: Path, model: str, dataset: str, site: tuple[int, float], averages: tuple[float, ...]
) -> None:
    found = site_averages(at_site(cells_of(authors, model, dataset, "curated", "unembed"), *site))
    np.testing.assert_allclose(found[["mean", "mean_without_top", "median", "ratio_of_means"]], averages, atol=0.051)


def test_table1_of_the_authors(authors: Path) -> None:
    table = table1(prompts_of_cells(cells_of(authors, "gpt2", "hand", "curated", "unembed"))).set_index("prompt_kind")
    np.testing.assert_allclose(table["p_answer"], [0.158, 0.087], atol=5e-4)
    np.testing.assert_allclose(table["surprisal"], [4.21, 4.91], atol=5e-3)


def test_random_memories_are_the_words_that_were_injected(authors: Path) -> None:
    cells = cells_of(authors, "gpt2", "hand", "top_5000_words", "unembed")
    assert len(cells) == 106 * 12 * 15
    first = at_site(cells, 0, 1).iloc[0]
    assert (first["memory"], first["top_token_id"]) == ("since", 13)


def test_a_study_is_compared_with_the_authors_files(tmp_path: Path) -> None:
    paths = {}
    for who, seed in (("ours", 0), ("authors", 0)):
        root = write(tmp_path / who, seed=seed)
        cells = cells_of(root, "gpt2", "hand", "curated", "unembed")
        if who == "ours":
            cells.loc[(cells["prompt_id"] == 3) & (cells["layer"] == 1), "p_injected"] *= 1.25
        paths[who] = tmp_path / f"{who}.parquet"
        cells.to_parquet(paths[who])
    name = SweepId.parse("gpt2/hand/curated.unembed")
    card = scorecard({name: paths["ours"]}, {name: paths["authors"]}, PAPER).set_index("quantity")
    injected = card.loc["p_injected, prompt by prompt (relative)"]
    assert injected["n"] == 6 * 2 * 2
    assert injected["n_beyond"] == 2
    assert injected["max_difference"] == pytest.approx(0.25)
    assert injected["median_difference"] == 0
    assert card.loc["p_obscure, prompt by prompt (relative)", "max_difference"] == 0
    mean = card.loc["mean at layer 1, magnitude 2 (%)"]
    assert mean["authors"] == pytest.approx(50)
    assert mean["difference"] == pytest.approx(150 * 0.25 / 6)
    assert card.loc["layer of the best mean", ["authors", "ours"]].tolist() == [1, 1]
    assert card.loc["layer of the site that the authors report", "paper"] == 1
    verdicts = claims({name: paths["ours"]}, PAPER).set_index("claim")["verdict"]
    assert verdicts["5. The site that the authors report is the best"] == "holds"
    assert verdicts["2. A curated memory makes the answer more probable"] == "holds"
    assert verdicts["4. The answer's probability rises by up to 424 %"] == "does not hold"


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    cells = cells_of(write(tmp_path / "theirs", prompts=9), "gpt2", "hand", "curated", "unembed")
    cells.to_parquet(tmp_path / "authors.parquet")
    cells["memory"] = cells["memory"].astype(object).where(cells["prompt_id"] != 4, "somebody else")
    cells.query("prompt_id < 6 and layer == 1").to_parquet(tmp_path / "ours.parquet")
    name = SweepId.parse("gpt2/hand/curated.unembed")
    card = scorecard({name: tmp_path / "ours.parquet"}, {name: tmp_path / "authors.parquet"}, PAPER)
    card = card.set_index("quantity")
    assert card.loc["mean p_explicit", "authors"] != card.loc["mean p_explicit", "ours"]
    assert card["difference"].dropna().abs().max() == 0
    assert card.loc["p_obscure, prompt by prompt (relative)", ["n", "n_beyond"]].tolist() == [5, 0]
    assert card.loc["p_injected, prompt by prompt (relative)", ["n", "n_beyond"]].tolist() == [10, 0]


def test_models_of_an_organisation_are_found(tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs")
    data = theirs / CURATED_RESULTS / "data"
    (data / "EleutherAI").mkdir()
    (data / "gpt2-small").rename(data / "EleutherAI" / "gpt-j-6B")
    found = {(sweep["model"], sweep["dataset"], sweep["memories"]) for sweep in find_sweeps(theirs)}
    assert found == {("gpt-j-6b", "hand", "curated"), ("gpt2", "hand", "nouns")}


def test_a_claim_that_one_prompt_carries_holds_only_in_the_mean(tmp_path: Path) -> None:
    cells = cells_of(write(tmp_path / "theirs"), "gpt2", "hand", "curated", "unembed")
    here = (cells["layer"] == 1) & (cells["magnitude"] == 2)
    cells.loc[here, "p_injected"] = cells.loc[here, "p_obscure"] * 0.9
    cells.loc[here & (cells["prompt_id"] == 0), "p_injected"] = 0.999
    cells["logp_injected"] = np.log(cells["p_injected"])
    cells.to_parquet(tmp_path / "cells.parquet")
    verdicts = claims({SweepId("gpt2", "hand", "curated", "unembed"): tmp_path / "cells.parquet"}, PAPER)
    helps = verdicts.set_index("claim").loc["2. A curated memory makes the answer more probable"]
    assert helps["verdict"] == "holds only in the mean"
    assert "better for 1 of 6 prompts" in helps["evidence"]


def test_a_claim_that_chance_carries_does_not_hold(tmp_path: Path) -> None:
    changes = np.exp(np.random.default_rng(0).normal(0, 0.3, 200))
    assert changes.mean() > 1
    assert np.median(changes) > 1
    cells = pd.DataFrame({"prompt_id": range(200), "layer": 0, "magnitude": 1.0, "memory": "m"})
    cells = cells.assign(p_explicit=0.02, p_obscure=0.01, p_injected=0.01 * changes)
    cells = cells.assign(logp_obscure=np.log(cells["p_obscure"]), logp_injected=np.log(cells["p_injected"]))
    name = SweepId("gpt2", "mine", "curated", "unembed")
    for factor, verdict in ((1.0, "holds only in the mean"), (1.2, "holds")):
        path = tmp_path / "cells.parquet"
        cells.assign(
            p_injected=cells["p_injected"] * factor, logp_injected=cells["logp_injected"] + np.log(factor)
        ).to_parquet(path)
        table = claims({name: path}, PAPER).set_index("claim")
        assert table.loc["2. A curated memory makes the answer more probable", "verdict"] == verdict


def test_results_come_from_a_commit(tmp_path: Path) -> None:
    repository = write(tmp_path / "repository")
    (repository / "large.bin").write_bytes(b"not a result")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (
        ["init", "--quiet"], ["config", "uploadpack.allowFilter", "true"],
        ["config", "uploadpack.allowAnySHA1InWant", "true"], ["add", "."],
        [*identity, "commit", "--quiet", "-m", "results"], [*identity, "commit", "--quiet", "--allow-empty", "-m", "b"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    log = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD~1"], text=True, capture_output=True)
    folder = tmp_path / "fetched"
    folder.mkdir()
    fetch(repository.as_uri(), log.stdout.strip(), folder)
    assert len(find_sweeps(folder)) == 2
    assert not (folder / "large.bin").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match=r"git cannot fetch commit 0{40} of .*published.commit"):
        fetch(repository.as_uri(), 40 * "0", tmp_path / "other")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.rename(path.with_name("tweak.csv")), "has no magnitude at the end of its name"),
        (lambda path: path.write_text("a,b\n1,2\n"), "has no column ans_prob_obs_edit_layer"),
        (lambda path: path.write_text(path.read_text().replace("answer_prob_obs", "p")), "no column answer_prob_obs"),
        (lambda path: path.write_text(path.read_text().replace("0.", "7.")), "something else than probabilities"),
        (lambda path: path.with_name("tweak_1.0.csv").write_text(path.read_text()), "are of the same magnitude"),
    ],
)
def test_a_file_that_is_not_theirs_is_one_clear_sentence(tmp_path: Path, spoil, sentence: str) -> None:  # type: ignore[no-untyped-def]
    spoil(write(tmp_path / "theirs") / CURATED_RESULTS / "data" / "gpt2-small" / HOOK / "tweak_1.csv")
    with pytest.raises(StudyError, match=sentence):
        cells_of(tmp_path / "theirs", "gpt2", "hand", "curated", "unembed")
