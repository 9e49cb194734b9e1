"""What the verdict on the memory would be at other encodings and doses of the same study, each by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from memory_injections.analysis.verdicts import combine_p_values, name_verdict
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.sweeps.identity import ID_COLUMNS
from memory_injections.terms import ANY_ENCODING, CURATED, SHUFFLED

COLUMNS = [
    "model", "dataset", "encoding", "relative", "layer", "magnitude", "choice", "verdict", "effect", "low", "high",
    "contrast", "contrast_low", "contrast_high", "n_prompts",
]  # fmt: skip
BY_ENCODING, BY_DOSE = "encoding", "dose"


def judge_other_choices(tables: Mapping[str, pd.DataFrame], margin: float) -> pd.DataFrame:
    """Judge whether the memory helps in each encoding, and at each dose of the dose curves.

    `tables` are those of `analysis.evidence.assess_sweeps` and, in a study with controls, those of
    `controls.contrasts`. `choice` says what is fixed: of an `encoding`, the site is chosen on other prompts; a `dose`
    goes into the layer that is chosen most often. contrast is that with shuffled memories; without controls it is
    missing, and the verdict rests on the effect alone. These verdicts are not adjusted for their number.
    """
    found = [*_list_encodings(tables), *_list_doses(tables)]
    rows = []
    for place, effect, contrast in found:
        estimates = [effect] if contrast is None else [effect, contrast]
        row = {**place, "verdict": name_verdict(estimates, combine_p_values(estimates), margin)}
        row |= effect[["effect", "low", "high", "n_prompts"]].to_dict()
        if contrast is not None:
            row |= {"contrast": contrast["effect"], "contrast_low": contrast["low"], "contrast_high": contrast["high"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


Choice = tuple[dict[str, Any], pd.Series, pd.Series | None]


def _list_encodings(tables: Mapping[str, pd.DataFrame]) -> Iterator[Choice]:
    evidence, contrasts = tables["evidence"], tables.get("control_contrasts", pd.DataFrame(columns=ID_COLUMNS))
    shuffled = contrasts[contrasts["memories"] == SHUFFLED]
    for _, row in evidence[(evidence["memories"] == CURATED) & (evidence["encoding"] != ANY_ENCODING)].iterrows():
        of = ["model", "dataset", "encoding", "relative"]
        same = shuffled[(shuffled[of] == row[of]).all(axis=1)]
        place = row[[*of, "layer", "magnitude"]].to_dict() | {"choice": BY_ENCODING}
        yield place, row, same.iloc[0] if len(same) else None


def _list_doses(tables: Mapping[str, pd.DataFrame]) -> Iterator[Choice]:
    if "doses" not in tables:
        return
    for place, rows in tables["doses"].groupby(["model", "dataset", "encoding", "layer", "dose"], sort=False):
        by_control = rows.set_index("control")
        if DIFFERENCE in by_control.index:
            model, dataset, encoding, layer, dose = place
            at = {"model": model, "dataset": dataset, "encoding": encoding, "relative": True, "layer": layer}
            yield at | {"magnitude": dose, "choice": BY_DOSE}, by_control.loc[CURATED], by_control.loc[DIFFERENCE]
