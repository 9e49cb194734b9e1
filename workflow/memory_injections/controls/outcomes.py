"""What injections do by each outcome: the answer's first token, the whole answer, and the answer that is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from memory_injections.analysis.averages import SITE
from memory_injections.analysis.verdicts import INCONCLUSIVE, combine_p_values, name_verdict
from memory_injections.controls.contrasts import ENCODING, ID, ON_OTHERS, ControlResults, measure_at_chosen_sites
from memory_injections.controls.kinds import CONTROLS, SHUFFLED, list_text_controls
from memory_injections.controls.settings import AT_DOSES, AT_SITES
from memory_injections.terms import CURATED, FIRST_TOKEN, GENERATION, WHOLE_ANSWER

# The scores that outcomes are measured by, in nats.
SCORES = {FIRST_TOKEN: "logp", WHOLE_ANSWER: "logp_whole"}
# What an answer is compared with that the prompt alone is followed by.
UNTOUCHED = "obscure"
AT_DOSE = "dose curve"
WHERE = ["chosen_encoding", *SITE]
CONTRAST = [f"contrast{part}" for part in ("", "_low", "_high", "_low_99", "_high_99", "_p")]
OF_ESTIMATE = ["effect", "low", "high", "low_99", "high_99", "p"]
TABLES = {
    "outcomes": [
        *ID, *SITE, "site", "control", "outcome", "effect", "low", "high", "p", "n", "n_clusters", *CONTRAST,
    ],
    "by_outcome": [
        *ID, *SITE, "chosen_encoding", "outcome", "before", *OF_ESTIMATE, *CONTRAST, "verdict", "n_rescued", "n_wrong",
        "n_broken", "n_right", "n_prompts", "n_clusters",
    ],
}  # fmt: skip


def measure_outcomes(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield a row for each place, control and outcome: the control's mean effect, and curated minus control.

    Effects are in nats, differences of log-probabilities from the obscure prompt's; of written answers, the share
    that is right. Places are the sites with a name, those that other prompts choose, and the doses of the dose curve;
    written answers (`writing.Writer.write_under_injections`) are at the site that other prompts choose most often.
    """
    compared = {"explicit", *list_text_controls()}
    for outcome, score in SCORES.items():
        measured = replace(results, score=score)
        texts = measured.measure_texts()
        known = {text: texts[text].dropna() for text in texts if text in compared}
        for place, effects in _list_places(measured):
            yield from _estimate_all(results, {**place, "outcome": outcome}, effects | known)
    if results.written.empty:
        return
    right = results.texts.pivot(index="prompt_id", columns="text", values="is_right").astype("float64")
    known = {text: right[text].dropna() for text in right if text in (UNTOUCHED, *compared)}
    for (encoding, relative), part in results.written.groupby(ENCODING):
        shares = {
            str(control): of.set_index("prompt_id")["is_right"].astype("float64")
            for control, of in part.groupby("control")
        }
        site = dict(zip(WHERE, part.value_counts(WHERE).index[0], strict=True))
        place = {"encoding": encoding, "relative": relative, **site, "site": ON_OTHERS, "outcome": GENERATION}
        yield from _estimate_all(results, place, shares | known)


def _list_places(results: ControlResults) -> Iterator[tuple[dict[str, Any], dict[str, pd.Series]]]:
    """Yield the effects of each control at each place, by prompt."""
    for place, means in measure_at_chosen_sites(results):
        site = {name: place[name] for name in (*ENCODING, *SITE, "chosen_encoding")}
        yield {**site, "site": ON_OTHERS}, means
    at_sites = results.measure(AT_SITES, ["control", *ENCODING, *SITE])
    for site in results.list_named_sites().to_dict("records"):
        here = at_sites.xs(tuple(site[name] for name in (*ENCODING, *SITE)), level=[*ENCODING, *SITE])
        name = site.pop("name")
        yield {**site, "site": name}, _by_control(here)
    doses = results.measure(AT_DOSES, [*ENCODING, *SITE, "control"])
    for values, effects in doses.groupby([*ENCODING, *SITE]):
        here = effects.droplevel([*ENCODING, *SITE])
        yield {**dict(zip((*ENCODING, *SITE), values, strict=True)), "site": AT_DOSE}, _by_control(here)


def _by_control(effects: pd.Series) -> dict[str, pd.Series]:
    return {str(control): part.droplevel("control") for control, part in effects.groupby("control")}


def _estimate_all(
    results: ControlResults, place: Mapping[str, Any], effects: Mapping[str, pd.Series]
) -> Iterator[dict[str, Any]]:
    curated = effects[CURATED]
    wanted = CURATED, UNTOUCHED, "explicit", *(kind for kind in CONTROLS if kind in results.kinds)
    for control in (name for name in wanted if name in effects):
        here = effects[control].loc[effects[control].index.intersection(curated.index)]
        found = results.estimate(here, with_power=False)
        row = {**place, "control": control, **found, "n": found["n_prompts"]}
        if control != CURATED:
            contrast = results.estimate(curated.loc[here.index] - here, with_power=False)
            row |= dict(zip(CONTRAST, (contrast[name] for name in OF_ESTIMATE), strict=True))
        yield row


def compare_outcomes(
    results: ControlResults, rows: Sequence[Mapping[str, Any]], margin: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each encoding and outcome, at sites chosen on other prompts, with what the verdict is by it.

    before: the mean log-probability of the answer behind the obscure prompt, or the share of right ones written there.
    effect is the change by the prompt's own memory, contrast how much more that is than with shuffled memories.
    Verdicts are those on the memory's help (`verdicts.name_verdict`), not adjusted for their number. Of written
    answers, n_rescued of the n_wrong ones become right, and n_broken of the n_right ones wrong.
    """
    chosen = [row for row in rows if row["site"] == ON_OTHERS]
    for row in (row for row in chosen if row["control"] == CURATED):
        place = {name: row[name] for name in (*ENCODING, *SITE, "outcome")}
        others = {
            other["control"]: pd.Series({name: other[key] for name, key in zip(OF_ESTIMATE, CONTRAST, strict=True)})
            for other in chosen
            if other["control"] != CURATED and all(other[name] == value for name, value in place.items())
        }
        is_written = row["outcome"] == GENERATION
        effect = others.get(UNTOUCHED) if is_written else pd.Series({name: row[name] for name in OF_ESTIMATE})
        assert effect is not None
        contrast, verdict = others.get(SHUFFLED), INCONCLUSIVE
        if contrast is not None:
            verdict = name_verdict([effect, contrast], combine_p_values([effect, contrast]), margin)
        found = {} if contrast is None else dict(zip(CONTRAST, contrast[OF_ESTIMATE], strict=True))
        texts, counted = results.texts, results.cells["prompt_id"].unique()
        before = texts[(texts["text"] == UNTOUCHED) & texts["prompt_id"].isin(counted)]
        counts = _count_written(before, results.written, place) if is_written else {}
        mean = before["is_right" if is_written else SCORES[row["outcome"]]].mean()
        yield {**row, **effect, **found, "before": mean, "verdict": verdict, **counts}


def _count_written(before: pd.DataFrame, written: pd.DataFrame, place: Mapping[str, Any]) -> dict[str, int]:
    """Count the answers that are right before and after the injection of the prompt's own memory."""
    here = (written[ENCODING] == pd.Series({name: place[name] for name in ENCODING})).all(axis=1)
    after = written[here & (written["control"] == CURATED)].set_index("prompt_id")["is_right"]
    was_right = before.set_index("prompt_id")["is_right"].reindex(after.index).fillna(False).astype(bool)
    after = after.astype(bool)
    return {
        "n_rescued": int((after & ~was_right).sum()),
        "n_wrong": int((~was_right).sum()),
        "n_broken": int((was_right & ~after).sum()),
        "n_right": int(was_right.sum()),
    }


def tabulate_outcomes(every: Sequence[ControlResults], margin: float) -> dict[str, pd.DataFrame]:
    """Return the tables `outcomes` and `by_outcome` of a study."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for results in every:
        rows = list(measure_outcomes(results))
        tables["outcomes"] += [{**results.name, **row} for row in rows]
        compared = compare_outcomes(results, rows, margin)
        tables["by_outcome"] += [{**results.name, **row} for row in compared]
    return {name: pd.DataFrame(rows).reindex(columns=TABLES[name]) for name, rows in tables.items()}
