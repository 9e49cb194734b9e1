"""Effects by group, on sweeps whose effects are known."""

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.breakdown import OTHER, break_down, read_groups
from memory_injections.analysis.clusters import cluster_prompts, name_relations
from memory_injections.analysis.evidence import SweepEffects

N_PROMPTS = 60
HOPS = ["The spouse of {} is", "The child of {} is", "{} was born in"]


def make_pairs() -> pd.DataFrame:
    """Prompts of two last hops that are half of them each, but for three of a third one; each memory is used twice."""
    memories = [f"Person {index // 2}" for index in range(N_PROMPTS)]
    hops = [HOPS[2 if index < 3 else index % 2] for index in range(N_PROMPTS)]
    explicit = [hop.format(memory) for hop, memory in zip(hops, memories, strict=True)]
    topics = ["Kin" if index < 30 else "kin " if index < 40 else "" for index in range(N_PROMPTS)]
    return pd.DataFrame(
        {"prompt_id": range(N_PROMPTS), "explicit_prompt": explicit, "memory": memories, "topic": topics}
    )


@pytest.fixture
def sweep() -> SweepEffects:
    """Curated memories help spouses by 0.9 nats at layer 1, and nothing else."""
    noise = 0.05 * np.random.default_rng(0).normal(size=(N_PROMPTS, 3))
    is_spouse = (np.arange(N_PROMPTS) % 2 == 0)[:, None]
    effects = noise + np.array([-0.2, 0.0, -0.3]) + np.array([0.0, 0.9, 0.0]) * is_spouse
    sites = pd.MultiIndex.from_product([range(3), [1.0]], names=["layer", "magnitude"])
    frame = pd.DataFrame(effects, columns=sites, index=pd.Index(range(N_PROMPTS), name="prompt_id"))
    return SweepEffects(frame, cluster_prompts(make_pairs()), seed=0)


def test_relations_show_what_the_mean_hides(sweep: SweepEffects) -> None:
    contrasts = sweep.effects - 0.25
    groups = pd.DataFrame(break_down(sweep, make_pairs(), ["relation"], (2, 1.0), contrasts)).set_index("group")
    assert set(groups.index) == {"The spouse of … is", "The child of … is", OTHER}
    spouses = groups.loc["The spouse of … is"]
    assert spouses["effect"] == pytest.approx(0.9, abs=0.05)
    assert groups.loc["The child of … is", "effect"] == pytest.approx(0, abs=0.05)
    assert spouses["effect_reported"] == pytest.approx(-0.3, abs=0.05)
    assert spouses["contrast"] == pytest.approx(spouses["effect"] - 0.25)
    assert spouses["contrast_low"] == pytest.approx(spouses["low"] - 0.25)
    assert groups["n_prompts"].sum() == N_PROMPTS
    # Each relation lies in one cluster, the last hop, so that memories are the clusters here.
    assert spouses["n_clusters"] == spouses["n_prompts"]
    assert spouses["low"] > 0.5


def test_groups_of_several_clusters_keep_them(sweep: SweepEffects) -> None:
    groups = pd.DataFrame(break_down(sweep, make_pairs(), ["topic"])).set_index("group")
    assert groups["n_prompts"].to_dict() == {"Kin": 40, OTHER: 20}
    assert groups["n_clusters"].to_dict() == {"Kin": 3, OTHER: 2}
    assert "contrast" not in groups
    assert groups["effect_reported"].isna().all()


def test_one_group_is_none(sweep: SweepEffects) -> None:
    table = make_pairs().assign(few=[f"{index}" for index in range(N_PROMPTS)])
    assert list(break_down(sweep, table, ["few", "no such column"])) == []
    assert list(break_down(sweep.keep(pd.Index([], dtype="int64")), table, ["relation"])) == []


def test_a_relation_is_the_data_sets_own_or_what_is_asked() -> None:
    asked = [
        "Ada was born in the city of",
        "Bob was BORN in the country of",
        "Cy is the most",
        "The currency of Dee is",
    ]
    table = pd.DataFrame({"prompt_id": range(4), "explicit_prompt": asked, "memory": ["Ada", "Bob", "Cy", "Dee"]})
    expected = ["… was born in", "… was born in", "… is the most", "The currency of … is"]
    assert name_relations(table).tolist() == expected
    groups = read_groups(table, "relation")
    assert groups is not None
    assert groups.tolist() == expected
    own = read_groups(table.assign(relation=["birth", "Birth", "", "money"]), "relation")
    assert own is not None
    assert own.tolist() == ["birth", "birth", OTHER, "money"]
