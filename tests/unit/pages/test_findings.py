"""The sentences about a study whose verdicts are about a part of the prompts."""

import numpy as np
import pandas as pd
from memory_injections.pages.answer import answer_question
from memory_injections.pages.findings import list_cases, summarise_study, tabulate_findings
from memory_injections.paper.claims import CLAIMS

OF = {"model": "m", "dataset": "d", "encoding": "unembed", "relative": False}
NONE = dict.fromkeys(("effect", "low", "high", "layer", "magnitude", "hits_gain", "n_effective"), np.nan)


def test_how_many_prompts_count_stands_beside_the_verdict() -> None:
    evidence = pd.DataFrame(
        [{**OF, **NONE, "memories": "curated", "chosen_encoding": "unembed", "n_prompts": 0, "n_clusters": 0}]
    )
    helps = {**OF, **NONE, "claim": CLAIMS["helps"].label, "verdict": "inconclusive", "evidence": "no prompt"}
    population = {"model": "m", "dataset": "d", "population": "composition_missed", "n_prompts": 72}
    tables = {
        "evidence": evidence,
        "claims": pd.DataFrame([helps]),
        "contrasts": pd.DataFrame(columns=[*OF, "memories"]),
        "headline": pd.DataFrame(),
        "sites": pd.DataFrame(columns=[*OF]),
        "population": pd.DataFrame([population | {"n_composition_missed": 0, "n_counted": 0, "n_clusters": 0}]),
    }
    said = summarise_study(tables)
    assert said[0] == (
        "Verdicts are about prompts that the model answers wrong although it knows both facts: m on d (0 of 72 "
        "prompts, in 0 clusters: too few for a verdict, which takes 6)."
    )
    assert answer_question(list_cases(tables), tables) == ("Unclear", "Here no prompt.")
    tables["population"]["n_composition_missed"] = 3
    assert "it knows both facts, less those with a shortcut that is left out: m on d" in summarise_study(tables)[0]
    tables["headline"] = pd.DataFrame(columns=["model", "dataset"])
    found = tabulate_findings(tables)["m on d"]
    assert found["mean effect at sites chosen on other prompts"] == "no prompts"
    assert found["the site chosen most often"] == "–"
