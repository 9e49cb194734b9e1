"""Where the answer is known, the study finds it: a memory that must help is supported, and nothing is zero."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, snakemake: Run) -> Path:
    """A study of two models of one shape: one knows the facts of the data set, the other was never told any."""
    from known_world import PEOPLE, save_model, write_pairs

    folder = tmp_path_factory.mktemp("known")
    for name in ("knows", "ignorant"):
        save_model(name == "knows", folder / name)
    write_pairs().to_csv(folder / "pairs.csv", index=False)
    pd.DataFrame({"people": PEOPLE}).to_csv(folder / "words.csv", index=False)
    study: dict[str, Any] = {
        "study": "known",
        "models": {name: {"source": "local", "path": name} for name in ("knows", "ignorant")},
        "datasets": {"world": {"source": "file", "path": "pairs.csv"}},
        "words": {"source": "file", "path": "words.csv"},
        "injection": {"memories": ["curated", "people"], "magnitudes": [0.25, 0.5, 1]},
        "attribution": {"top_k": 5},
        "controls": {"kinds": ["shuffled"], "draws": 1},
    }
    tables = folder / "results" / "known" / "tables"
    wanted = [f"results/known/tables/{name}.csv" for name in ("claims", "side_effects", "direct_effects")]
    run = snakemake(folder, study, *wanted)
    assert run.returncode == 0, run.stderr
    return tables


def read_verdicts(results: Path) -> dict[tuple[str, str], str]:
    claims = pd.read_csv(results / "claims.csv")
    numbers = claims["claim"].str[0]
    return dict(zip(zip(numbers, claims["model"], strict=True), claims["verdict"], strict=True))


def test_a_memory_that_must_help_is_supported(results: Path) -> None:
    verdicts = read_verdicts(results)
    assert verdicts["1", "knows"] == "supported"
    assert verdicts["2", "knows"] == "supported"


def test_a_model_without_facts_is_a_null(results: Path) -> None:
    verdicts = read_verdicts(results)
    assert verdicts["1", "ignorant"] == "practically zero"
    assert verdicts["2", "ignorant"] == "practically zero"


def test_another_memory_does_not_help(results: Path) -> None:
    effects = pd.read_csv(results / "side_effects.csv").query("model == 'knows'")
    at_site = effects[effects["magnitude"] == effects["magnitude"].unique()[0]].set_index("memories")
    assert at_site.loc["curated", "effect"] > 1
    assert at_site.loc["curated", "n_rescued"] > 0.7 * at_site.loc["curated", "n_missed"]
    assert at_site.loc["shuffled", "effect"] < -0.2
    assert at_site.loc["shuffled", "n_rescued"] < 0.1 * at_site.loc["shuffled", "n_missed"]


def test_the_memory_works_through_the_second_hop(results: Path) -> None:
    """It goes in where the model has yet to look up the second hop: hardly anything of its effect is direct."""
    table = pd.read_csv(results / "direct_effects.csv").query("model == 'knows'")
    parts = table.query("layer == 0 and control == 'curated'").iloc[0]
    assert parts["indirect"] > 1
    assert abs(parts["direct"]) < 0.2 * parts["indirect"]
    # All of that is this memory's: another one does nothing of the kind.
    assert table.query("control == 'curated minus shuffled'").iloc[0]["indirect_low"] > 1
