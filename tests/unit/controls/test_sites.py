"""Controls are computed at the sites that the evidence chooses, and at some with a name."""

import numpy as np
import pandas as pd
import pytest
from memory_injections.analysis.evidence import SweepEffects
from memory_injections.controls.settings import ControlSite
from memory_injections.controls.sites import BEST, CHOSEN, CONFIGURED, REPORTED, choose_control_sites

SITES = [(0, 1.0), (0, 2.0), (3, 1.0), (3, 2.0)]
GROUPS = pd.Series([f"cluster {number // 2}" for number in range(40)], name="memory")


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Two sites have the same mean effect, up to a little: the folds do not agree on the best."""
    rng = np.random.default_rng(0)
    effects = rng.normal(scale=0.3, size=(40, len(SITES)))
    effects += np.array([0, 0.2, -1, 0.201]) - effects.mean(axis=0)
    rows = []
    for prompt_id, own in enumerate(effects):
        for site, effect in zip(SITES, own, strict=True):
            before = -rng.uniform(1, 4)
            rows.append((prompt_id, *site, before, before + effect, np.exp(before), np.exp(before + effect)))
    columns = ["prompt_id", "layer", "magnitude", "logp_obscure", "logp_injected", "p_obscure", "p_injected"]
    return pd.DataFrame(rows, columns=columns)


def test_weights_are_those_of_the_evidence(cells: pd.DataFrame) -> None:
    sweep = SweepEffects.of_cells(cells, GROUPS, 0)
    sites = choose_control_sites(cells, GROUPS, 0, None, [])
    np.testing.assert_allclose(sites.groupby("prompt_id")["weight"].sum(), 1)
    values = sweep.frame.stack(["layer", "magnitude"], future_stack=True).rename("effect").reset_index()
    both = sites.merge(values, on=["prompt_id", "layer", "magnitude"])
    found = (both["weight"] * both["effect"]).groupby(both["prompt_id"]).sum()
    np.testing.assert_allclose(found, sweep.effects)
    assert sites.loc[sites["weight"] > 0, ["layer", "magnitude"]].drop_duplicates().shape[0] > 1


def test_sites_with_a_name_are_those_of_every_prompt(cells: pd.DataFrame) -> None:
    sites = choose_control_sites(cells, GROUPS, 0, (0, 1.0), [ControlSite(layer=7, magnitude=5)])
    named = sites[sites["name"] != ""]
    assert (named.groupby(["layer", "magnitude"])["prompt_id"].nunique() == 40).all()
    assert not sites.duplicated(["prompt_id", "layer", "magnitude"]).any()
    names = named.drop_duplicates("name").set_index("name")[["layer", "magnitude"]].apply(tuple, axis=1)
    assert names[REPORTED] == (0, 1.0)
    assert names[CONFIGURED] == (7, 5.0)
    most = SweepEffects.of_cells(cells, GROUPS, 0).name_chosen()
    assert {name: names[name] for name in names.index if CHOSEN in name} == {
        next(name for name in names.index if CHOSEN in name): (most["layer"], most["magnitude"])
    }
    assert any(BEST in name for name in names.index)
