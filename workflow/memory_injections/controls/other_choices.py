"""What the verdict on the memory would be at other encodings and doses of the same study, each by itself."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from memory_injections.analysis.verdicts import INCONCLUSIVE, combine_p_values, name_verdict
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.paper.claims import find_contrast, find_shuffled, select_cases
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId
from memory_injections.terms import ANY_ENCODING, CURATED

COLUMNS = [
    "model", "dataset", "encoding", "relative", "layer", "magnitude", "choice", "verdict", "effect", "low", "high",
    "contrast", "contrast_low", "contrast_high", "n_prompts",
]  # fmt: skip
BY_ENCODING, BY_DOSE = "encoding", "dose"
Choice = tuple[dict[str, Any], pd.Series, pd.Series | None]


def judge_other_choices(tables: Mapping[str, pd.DataFrame], flags: Collection[SweepId], margin: float) -> pd.DataFrame:
    """Judge whether the memory helps in each encoding that no claim is weighed by, and at each dose of the dose curves.

    `tables` are those of `analysis.evidence.assess_sweeps` and, in a study with controls, those of
    `controls.contrasts`; sweeps in `flags` are left out. `choice` says what is fixed: of an `encoding`, the site is
    chosen on other prompts; a `dose` goes into the layer that is chosen most often, on the same prompts. contrast is
    that with shuffled memories or else with random words; without one, the verdict is inconclusive. These verdicts are
    not adjusted for their number.
    """
    rows = []
    for place, effect, contrast in [*_list_encodings(tables, flags), *_list_doses(tables)]:
        row = {**place, "verdict": INCONCLUSIVE, **effect[["effect", "low", "high", "n_prompts"]]}
        if contrast is not None:
            row["verdict"] = name_verdict([effect, contrast], combine_p_values([effect, contrast]), margin)
            row |= {"contrast": contrast["effect"], "contrast_low": contrast["low"], "contrast_high": contrast["high"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _list_encodings(tables: Mapping[str, pd.DataFrame], flags: Collection[SweepId]) -> Iterator[Choice]:
    judged = select_cases(tables["evidence"], flags)
    for _, row in tables["evidence"].iterrows():
        sweep = SweepId(*row[ID_COLUMNS])
        if sweep.memories == CURATED and sweep.encoding != ANY_ENCODING and sweep not in {*judged, *flags}:
            contrast = find_shuffled(sweep, tables)
            if contrast is None:
                contrast = find_contrast(sweep, tables["contrasts"])
            place = row[["model", "dataset", "encoding", "relative", "layer", "magnitude"]].to_dict()
            yield place | {"choice": BY_ENCODING}, row, contrast


def _list_doses(tables: Mapping[str, pd.DataFrame]) -> Iterator[Choice]:
    if "doses" not in tables:
        return
    for place, rows in tables["doses"].groupby(["model", "dataset", "encoding", "layer", "dose"], sort=False):
        by_control = rows.set_index("control")
        if DIFFERENCE in by_control.index:
            model, dataset, encoding, layer, dose = place
            at = {"model": model, "dataset": dataset, "encoding": encoding, "relative": True, "layer": layer}
            yield at | {"magnitude": dose, "choice": BY_DOSE}, by_control.loc[CURATED], by_control.loc[DIFFERENCE]
