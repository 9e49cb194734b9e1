"""Clusters of prompts, on pairs whose clusters can be read off."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PAIRS
from memory_injections.analysis.clusters import align_clusters, cluster_prompts, name_last_hops
from memory_injections.analysis.effects import estimate_mean
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError

# Ways to write the same entity.
LETTERS: list[Callable[[str], str]] = [
    str, str.upper, "{} ".format, " {}\u200b".format, lambda text: unicodedata.normalize("NFD", text),
]  # fmt: skip


def pairs(explicit: list[str], memories: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"prompt_id": range(len(explicit)), "explicit_prompt": explicit, "memory": memories})


def test_the_last_hop_is_what_is_asked_of_the_memory() -> None:
    table = pairs(["The place of birth of  Ada is", "Ada was educated at", "Nobody is here"], ["Ada", "Ada", "Bob"])
    assert name_last_hops(table).tolist() == ["The place of birth of … is", "… was educated at", "Nobody is here"]


def test_single_sentences_are_clustered_by_memory_and_relations_by_last_hop() -> None:
    sentences = pairs([f"Ada {verb} the" for verb in ("saw", "met", "read")], ["Ada"] * 3)
    assert cluster_prompts(sentences).name == "memory"
    assert cluster_prompts(sentences).nunique() == 1
    people = [f"Person {index}" for index in range(20)]
    asked = [f"The {('spouse', 'child')[index % 2]} of {name} is" for index, name in enumerate(people)]
    relations = pairs(asked, people)
    assert cluster_prompts(relations).name == "last hop"
    assert cluster_prompts(relations).value_counts().tolist() == [10, 10]


def test_other_letters_of_one_entity_make_no_cluster_of_their_own() -> None:
    """Four entities are four independent observations: the least two-sided p of flipping their signs is 2 / 2^4."""
    entities = ["José Martí", "Ada", "Ångström", "Zoë"]
    memories = [write(entity) for entity in entities for write in LETTERS]
    table = pairs([f"{memory} is a {number}" for number, memory in enumerate(memories)], memories)
    groups = cluster_prompts(table)
    assert groups.value_counts().tolist() == [5, 5, 5, 5]
    effects = np.repeat([0.2, 0.3, 0.25, 0.35], 5) + np.tile([-0.02, 0, 0.02, 0.01, -0.01], 4)
    assert estimate_mean(effects, pd.factorize(groups)[0], 0).p == 0.125
    apart = pd.factorize(table["memory"])[0]
    assert estimate_mean(effects, apart, 0).p < 0.001


def test_other_letters_in_the_prompt_make_the_same_last_hop() -> None:
    people = [write(f"Zoë {index}") for index in range(10) for write in LETTERS]
    clean = [" ".join(unicodedata.normalize("NFC", name).split()).strip("\u200b") for name in people]
    asked = [f"The {('spouse', 'Spouse')[index % 2]} of {name.title()} is" for index, name in enumerate(clean)]
    groups = cluster_prompts(pairs(asked, people))
    assert groups.name == "last hop"
    assert set(groups) == {"The spouse of … is"}


def test_a_column_of_the_data_can_be_the_cluster() -> None:
    table = normalise_pairs(read_csv(PAIRS), "own", cluster="relation")
    groups = cluster_prompts(table)
    assert groups.name == "relation"
    assert groups.nunique() == table["relation"].nunique() < 72
    assert cluster_prompts(table.assign(relation=table["relation"].map(" {}".format).str.upper())).equals(groups)
    assert cluster_prompts(normalise_pairs(read_csv(PAIRS), "own", cluster="memory")).name == "memory"


@pytest.mark.parametrize(
    ("file", "name", "n_clusters"),
    [("handwritten_obscure_explicit_data.csv", "memory", 99), ("multi_hop_1000.csv", "last hop", 19)],
)
def test_the_clusters_of_the_authors_data(file: str, name: str, n_clusters: int, authors_data: Path) -> None:
    groups = cluster_prompts(normalise_pairs(read_csv(authors_data / file), file))
    assert (groups.name, groups.nunique()) == (name, n_clusters)


def test_the_clusters_of_the_own_data() -> None:
    groups = cluster_prompts(normalise_pairs(read_csv(PAIRS), "own"))
    assert (groups.name, groups.nunique()) == ("memory", 72)


def test_a_prompt_without_a_cluster_is_one_sentence() -> None:
    clusters = cluster_prompts(pairs(["Ada saw the"], ["Ada"]))
    with pytest.raises(StudyError, match=r"^prompt 1 is in the cells, but not in the prompt pairs"):
        align_clusters(clusters, pd.Index([0, 1]))
