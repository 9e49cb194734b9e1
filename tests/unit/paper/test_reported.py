"""The paper's numbers are those of its models and its prompts, whatever a study calls them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.paper.reported import (
    digest_pairs,
    find_reported_site,
    find_reported_value,
    identify_as_papers,
    identify_authors,
    read_numbers,
    select_numbers,
)
from memory_injections.sweeps.identity import SweepId

PAPER = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text(encoding="utf-8"))
GPT2 = {"revision": PAPER["models"]["gpt2"]}
FILES = {"hand": "handwritten_obscure_explicit_data.csv", "2wmh": "multi_hop_1000.csv"}


def make_pairs(n: int = 4) -> pd.DataFrame:
    texts = {name: [f"{name} {row}" for row in range(n)] for name in ("explicit_prompt", "obscure_prompt", "memory")}
    return pd.DataFrame({"prompt_id": range(n), **texts, "answer": [f" answer {row} " for row in range(n)]})


def know(pairs: pd.DataFrame, **of: Any) -> dict[str, Any]:
    """The paper's numbers, if these pairs were its data set `hand`."""
    return PAPER | {"datasets": {"hand": {"pairs": len(pairs), "digest": digest_pairs(pairs)}, **of}}


@pytest.mark.parametrize("name", FILES)
def test_the_digests_are_those_of_the_authors_data(name: str, authors_data: Path) -> None:
    pairs = normalise_pairs(read_csv(authors_data / FILES[name]), name)
    assert PAPER["datasets"][name] == {"pairs": len(pairs), "digest": digest_pairs(pairs)}
    assert identify_as_papers(GPT2, pairs, PAPER) == ("gpt2", name)
    assert identify_as_papers(GPT2, pairs.head(100), PAPER) is None


def test_every_configured_model_of_the_paper_is_at_the_papers_commit() -> None:
    for study in ("paper", "followup"):
        config = yaml.safe_load((ROOT / "config" / f"{study}.yaml").read_text(encoding="utf-8"))
        for name, source in config["models"].items():
            assert PAPER["models"][name] == source["revision"]


def test_a_model_and_prompts_are_the_papers_by_what_they_are() -> None:
    pairs = make_pairs()
    paper = know(pairs)
    assert identify_as_papers(GPT2, pairs, paper) == ("gpt2", "hand")
    # Blanks at the ends of a text may be taken off or kept.
    stripped = pairs.assign(answer=pairs["answer"].str.strip())
    assert identify_as_papers(GPT2, stripped, paper) == ("gpt2", "hand")
    assert identify_as_papers({"revision": None}, pairs, paper) is None  # a local model, by whatever name
    assert identify_as_papers({"revision": 40 * "0"}, pairs, paper) is None
    assert identify_as_papers(GPT2, pairs.head(3), paper) is None
    assert identify_as_papers(GPT2, pairs.iloc[::-1], paper) is None
    assert identify_as_papers(GPT2, pairs.assign(answer="another"), paper) is None


def test_numbers_go_by_the_studys_names(tmp_path: Path) -> None:
    names = {("small", "ours"): ("gpt2", "hand"), ("small", "made"): ("gpt2", "2wmh")}
    names |= {("gpt2-xl", "hand"): ("gpt2-xl", "hand")}
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(select_numbers(PAPER, names)))
    numbers = read_numbers(path)
    own = SweepId("small", "ours", "curated", "unembed")
    assert find_reported_site(own, numbers) == (6, 3)
    assert find_reported_value(own, numbers) == 44.895
    for name in (SweepId("gpt2", "hand", "curated", "unembed"), SweepId("small", "ours", "curated", "embed")):
        assert find_reported_site(name, numbers) is None
    assert numbers["headline"] == {"percent": 424, "sweeps": [["small", "made"]]}
    # The authors' cells stand beside ours only where both have one name.
    assert numbers["compared"] == [["gpt2-xl", "hand"]]
    assert select_numbers(PAPER, {})["sites"] == {}


def test_the_authors_files_are_the_papers_unless_whole_and_other() -> None:
    pairs = make_pairs()
    paper = know(pairs, **{"2wmh": PAPER["datasets"]["2wmh"]})
    both = [("gpt2", "hand"), ("gpt2-large", "hand")]
    assert identify_authors({"hand": pairs}, paper) == both
    assert identify_authors({"hand": pairs.head(2)}, paper) == both  # what there is cannot be verified
    assert identify_authors({"hand": pairs.assign(memory="another")}, paper) == []
