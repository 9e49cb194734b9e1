"""Clusters of prompts, on pairs whose clusters can be read off."""

import pandas as pd
import pytest
from memory_injections.analysis.clusters import align_clusters, cluster_prompts, name_last_hops
from memory_injections.errors import StudyError


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


def test_a_prompt_without_a_cluster_is_one_sentence() -> None:
    clusters = cluster_prompts(pairs(["Ada saw the"], ["Ada"]))
    with pytest.raises(StudyError, match=r"^prompt 1 is in the cells, but not in the prompt pairs"):
        align_clusters(clusters, pd.Index([0, 1]))
