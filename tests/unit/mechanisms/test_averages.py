"""The tables of mechanisms are averages over the right prompts, beside what they are compared with."""

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.averages import LEAST_LOGP
from memory_injections.mechanisms.averages import (
    average_blocks,
    average_direct_effects,
    average_patches,
    average_side_effects,
    compare_with_attribution,
)

OF = {"model": "tiny", "dataset": "own"}
SITE = {"encoding": "unembed", "relative": False, "layer": 1, "magnitude": 2.0}
CLUSTERS = {"own": pd.Series(list("aabbccddeeffgghh"), index=range(16))}


def list_patches(effects: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Effects of heads by source, [prompt][head]; the prompts are 2 and 5."""
    rows = [
        {
            "prompt_id": prompt_id,
            "source": source,
            "layer": 0,
            "head": head,
            "effect": effect,
            "gap": 2.0 * prompt_id,
            "n_positive": 7,
        }
        for source, of_source in effects.items()
        for prompt_id, of_prompt in zip((2, 5), of_source, strict=True)
        for head, effect in enumerate(of_prompt)
    ]
    return pd.DataFrame(rows).assign(**OF)


def list_heads(logits: dict[int, list[float]]) -> pd.DataFrame:
    """Logits of the answer in heads after the explicit prompt, by prompt; after the obscure one all are 1."""
    rows = [
        {"prompt_id": prompt, "prompt_kind": kind, "layer": 0, "head": head, "target": target, "logit": logit}
        for prompt, values in logits.items()
        for head, value in enumerate(values)
        for kind, target, logit in (
            ("explicit", "answer", value), ("obscure", "answer", 1.0), ("explicit", "memory", 50.0),
            ("obscure", "memory", -50.0),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**OF).astype({"model": "category", "dataset": "category"})


def test_patches_stand_beside_the_attribution_of_the_same_prompts() -> None:
    patches = list_patches({"own": [[1, 2, 3], [3, 4, 8]], "other": [[0, 0, 0], [-1, -2, -3]]})
    heads = list_heads({2: [2, 3, 4], 5: [4, 5, 10], 7: [100, -100, 100]})
    table = average_patches(patches, heads)
    assert table["effect"].tolist() == [2, 3, 5.5]
    assert table["effect_other"].tolist() == [-0.5, -1, -1.5]
    assert table["attribution"].tolist() == [2, 3, 6]
    assert table[["gap", "n_prompts", "n_positive"]].drop_duplicates().to_numpy().tolist() == [[7.0, 2, 7]]
    agreement = compare_with_attribution(patches, heads, seed=0).set_index("source")
    assert agreement.loc["own", "correlation"] == pytest.approx(1)
    assert agreement.loc["other", "correlation"] == pytest.approx(-1)
    assert agreement.loc["own", ["strongest", "effect", "gap"]].tolist() == ["layer 0, head 2", 5.5, 7.0]
    assert (agreement["low"] <= agreement["correlation"]).all()
    assert (agreement["correlation"] <= agreement["high"] + 1e-9).all()


def test_where_no_prompt_is_patched_a_row_says_so() -> None:
    patches = list_patches({"own": [[1, 2, 3], [3, 4, 8]], "other": [[0, 0, 0], [-1, -2, -3]]})
    heads = list_heads({2: [2, 3, 4], 5: [4, 5, 10]})
    both = pd.concat([heads.astype({"model": str}), heads.astype({"model": str}).assign(model="second")])
    table, agreement = average_patches(patches, both), compare_with_attribution(patches, both, seed=0)
    assert table["n_prompts"].tolist() == [2, 2, 2, 0]
    assert table.iloc[-1].drop(["model", "dataset", "n_prompts", "n_positive"]).isna().all()
    assert agreement["n_prompts"].tolist() == [2, 2, 0]
    nothing = patches.head(0)
    assert average_patches(nothing, heads)["n_prompts"].tolist() == [0]
    assert compare_with_attribution(nothing, heads, seed=0)["n_prompts"].tolist() == [0]


def test_parts_of_an_effect_add_up_and_have_intervals() -> None:
    effects = pd.DataFrame({"prompt_id": range(16), "effect": np.arange(-4.0, 12), "direct": 0.5}).assign(**OF, **SITE)
    effects["control"] = "curated"
    (row,) = average_direct_effects(effects, CLUSTERS, 0).to_dict("records")
    assert (row["effect"], row["direct"], row["indirect"]) == (3.5, 0.5, 3.0)
    assert np.isnan(row["direct_low"])  # nothing varies
    assert row["indirect_low"] < 0 < row["indirect_high"]
    # Eight clusters of alike prompts say less than sixteen prompts.
    naive = 1.96 * np.arange(16).std(ddof=1) / np.sqrt(16)
    assert row["indirect_high"] - row["indirect"] > naive


def test_the_difference_to_shuffled_memories_is_taken_prompt_by_prompt() -> None:
    own = pd.DataFrame({"prompt_id": range(16), "effect": np.arange(16.0), "direct": 0.5, "control": "curated"})
    other = pd.DataFrame({"prompt_id": range(14), "effect": np.arange(14.0), "direct": 0.0, "control": "shuffled"})
    other["effect"] -= 0.25 + 0.01 * np.arange(-6.5, 7)
    random = other.assign(control="random_direction", effect=0.0)
    elsewhere = own.assign(layer=0)
    effects = pd.concat([own.assign(layer=1), elsewhere, other.assign(layer=1), random.assign(layer=1)])
    table = average_direct_effects(effects.assign(**OF, **{**SITE, "layer": effects["layer"]}), CLUSTERS, 0)
    assert len(table) == 5
    row = table.set_index("control").loc["curated minus shuffled"]
    assert row[["layer", "n_prompts"]].tolist() == [1, 14]
    assert row[["effect", "direct", "indirect"]].tolist() == pytest.approx([0.25, 0.5, -0.25])
    # Much closer than those of the effects, which differ by many nats between prompts.
    assert 0.15 < row["effect_low"] < 0.25 < row["effect_high"] < 0.35


def test_a_probability_of_zero_is_one_number_in_every_effect() -> None:
    blocks = pd.DataFrame({"prompt_id": range(8), "block": 1, "target": "answer", "control": "curated"})
    blocks = blocks.assign(logp_clean=-1345.0, rank_clean=9, logp_injected=-3.0, rank_injected=0, **OF, **SITE)
    (row,) = average_blocks(blocks, CLUSTERS, 0).to_dict("records")
    assert row["change"] == pytest.approx(-3 - LEAST_LOGP)
    assert row["logp_clean"] == pytest.approx(LEAST_LOGP)
    cells = list_cells("shuffled", [0, 0, 3, 4], [1, 1, 3, 4], 0.5)
    cells = pd.concat([cells, cells.assign(memories="curated")]).assign(logp_obscure=-np.inf)
    texts = pd.DataFrame({"memories": ["shuffled"], "surprisal": 1.0, "surprisal_clean": 0.0}).assign(**OF, **SITE)
    assert average_side_effects(cells, texts)["effect"].tolist() == pytest.approx([-1 - LEAST_LOGP] * 2)


def test_blocks_keep_medians_of_ranks_and_means_of_log_probabilities() -> None:
    blocks = pd.DataFrame(
        {
            "prompt_id": range(16), "block": 2, "target": "answer", "control": "curated", "logp_clean": -4.0,
            "rank_clean": [*range(15), 1000], "logp_injected": [-3.0] * 15 + [-19.0], "rank_injected": 1,
        }
    ).assign(**OF, **SITE)  # fmt: skip
    (row,) = average_blocks(blocks, CLUSTERS, 0).to_dict("records")
    assert (row["rank_clean"], row["rank_injected"]) == (7.5, 1)
    assert (row["logp_clean"], row["logp_injected"], row["change"]) == (-4, -4, 0)
    assert row["change_low"] < 0 < row["change_high"]


def list_cells(memories: str, before: list[int], after: list[int], kl: float) -> pd.DataFrame:
    ranks = {"rank_obscure": before, "rank_injected": after}
    logs = {"logp_obscure": -2.0, "logp_injected": -1.0, "kl": kl, "is_top_changed": [True, False, False, False]}
    return pd.DataFrame({"prompt_id": range(4), **ranks, **logs}).assign(memories=memories, **OF, **SITE)


def test_harm_of_curated_memories_is_what_they_do_as_others() -> None:
    cells = pd.concat(
        [
            list_cells("curated", [0, 0, 3, 4], [1, 0, 0, 0], 9.0),
            list_cells("shuffled", [0, 0, 3, 4], [1, 1, 3, 4], 0.5),
            list_cells("random_direction", [0, 0, 3, 4], [0, 0, 0, 4], 0.25),
        ]
    )
    texts = pd.DataFrame({"memories": ["shuffled", "shuffled", "random_direction"], "surprisal": [1.0, 3.0, 1.0]})
    table = average_side_effects(cells, texts.assign(surprisal_clean=0.0, **OF, **SITE)).set_index("memories")
    assert table[["n_missed", "n_rescued"]].to_numpy().tolist() == [[2, 2], [2, 0], [2, 1]]
    assert table[["n_hit", "n_broken"]].to_numpy().tolist() == [[2, 1], [2, 2], [2, 0]]
    assert table["other_kl"].tolist() == [0.5, 0.5, 0.25]
    assert table["other_n_broken"].tolist() == [2, 2, 0]
    assert table["other_top_changed"].tolist() == [0.25, 0.25, 0.25]
    np.testing.assert_allclose(table["perplexity"], np.exp([2, 2, 1]))
    assert (table["perplexity_clean"] == 1).all()
