"""Tables of controls: how much more the memory does than what stands in for it, and where, and at which dose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memory_injections.analysis.averages import SITE, find_least, measure_effect
from memory_injections.analysis.clusters import align_clusters, cluster_prompts
from memory_injections.analysis.effects import ESTIMATE, estimate_mean
from memory_injections.analysis.hits import tabulate_ranks
from memory_injections.analysis.population import SHORTCUTS, judge_texts, mark_prompts
from memory_injections.analysis.verdicts import adjust_p_values
from memory_injections.controls.kinds import CONTROLS, IN_CONTEXT, SHUFFLED, list_text_controls
from memory_injections.controls.settings import AT_DOSES, AT_POSITIONS, AT_SITES
from memory_injections.controls.sites import CHOSEN
from memory_injections.terms import ANY_ENCODING, CURATED, LEAST_LOGP

ENCODING = ["encoding", "relative"]
ID = ["model", "dataset", *ENCODING]
CHOSEN_SITE = ["chosen_encoding", *SITE, "chosen_by"]
TABLES = {
    "controls": [
        *ID, *SITE, "site", "control", "effect", "contrast", "low", "high", "low_99", "high_99", "p", "p_holm",
        "detectable", "n",
        "n_clusters", "n_effective", "clusters", "curated_effect", "explicit_gap", "in_context_gap",
        "recovery_explicit", "recovery_in_context",
    ],
    "control_contrasts": [
        *ID, "memories", *ESTIMATE, "p_holm", "margin", *CHOSEN_SITE, "curated_effect", "control_effect",
    ],
    "specificity": [*ID, *ESTIMATE, *CHOSEN_SITE, "own_answer", "other_answers"],
    "positions": [*ID, *SITE, "positions", "control", *ESTIMATE],
    "doses": [*ID, "layer", "dose", "control", *ESTIMATE],
    "both_hops": [
        *ID, *SITE, "site", "control", "known_by", "known_rank", "n_prompts", "n_described", "n_first_hop",
        "n_second_hop", "n_both", "n_missed", "n_rescued", "n_hit", "n_broken",
    ],
    "shortcuts": ["model", "dataset", "prompt_id", *SHORTCUTS, "rank_without_entity", "rank_without_relation"],
}  # fmt: skip
# The name of sites that other prompts choose.
ON_OTHERS = "chosen on other prompts"
# The row of positions and doses that has the difference of the other two.
DIFFERENCE = "curated minus shuffled"


@dataclass(frozen=True)
class ControlResults:
    """What the controls of a model on a data set gave: their cells, their sites, the texts' scores, and the pairs.

    `score` is what effects are measured by: `logp`, of the answer's first token, or `logp_whole`. `written` are the
    answers that the model writes under injections, if it does (`writing.Writer.write_under_injections`).
    """

    cells: pd.DataFrame
    sites: pd.DataFrame
    texts: pd.DataFrame
    pairs: pd.DataFrame
    kinds: Sequence[str]
    seed: int
    score: str = "logp"
    written: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def name(self) -> dict[str, str]:
        """The model and the data set, as columns."""
        return {name: str(self.texts[name].iloc[0]) for name in ("model", "dataset")}

    def measure(self, part: str, by: Sequence[str]) -> pd.Series:
        """Return the effect of each control on each prompt, in nats, averaged over its draws: by columns and prompt."""
        cells = self.cells[self.cells["part"] == part]
        return measure_effect(cells, self.score).groupby([cells[name] for name in (*by, "prompt_id")]).mean()

    def measure_texts(self) -> pd.DataFrame:
        """Return how much more probable the answer is after each text than after the obscure prompt, in nats."""
        logp = self.texts.pivot(index="prompt_id", columns="text", values=self.score).astype("float64")
        logp = logp.drop(columns="first_hop", errors="ignore").clip(lower=find_least(self.score))
        return logp.sub(logp["obscure"], axis=0)

    def estimate(self, effects: pd.Series, with_power: bool = True) -> dict[str, float]:
        """Estimate the mean of effects, which are by prompt_id."""
        groups = align_clusters(self._clusters, effects.index)
        return estimate_mean(effects.to_numpy(), pd.factorize(groups)[0], self.seed, with_power).columns

    @cached_property
    def _clusters(self) -> pd.Series:
        return cluster_prompts(self.pairs)

    def list_named_sites(self) -> pd.DataFrame:
        """List the sites with a name: encoding, relative, layer, magnitude, name."""
        return self.sites.loc[self.sites["name"] != "", [*ENCODING, *SITE, "name"]].drop_duplicates(ignore_index=True)


def read_controls(
    cells: Sequence[Path],
    sites: Sequence[Path],
    texts: Sequence[Path],
    pairs: Mapping[str, pd.DataFrame],
    kinds: Sequence[str],
    seed: int,
    score: str = "logp",
    written: Sequence[Path] = (),
) -> Iterator[ControlResults]:
    """Read what the controls of each model and data set gave from its files, one of each kind in the same order."""
    nothing: Sequence[Path | None] = [None] * len(cells)
    for paths in zip(cells, sites, texts, written or nothing, strict=True):
        tables = (pd.DataFrame() if path is None else pd.read_parquet(path) for path in paths)
        cells_of, sites_of, texts_of, written_of = tables
        pairs_of = pairs[texts_of["dataset"].iloc[0]]
        yield ControlResults(cells_of, sites_of, texts_of, pairs_of, kinds, seed, score, written_of)


def contrast_at_sites(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield a row for each named site and control: its mean effect, and the contrast of curated memories with it.

    The contrast of a prompt is the effect of its own memory minus the mean over the control's draws. explicit_gap and
    in_context_gap are how much more probable the answer is after the explicit prompt, and with the memory as text in
    front; recovery_*: the share of the gap that the curated memories close, where it is clearly above zero.
    """
    effects, texts = results.measure(AT_SITES, [*ENCODING, *SITE, "control"]), results.measure_texts()
    clusters = cluster_prompts(results.pairs).name
    for site in results.list_named_sites().to_dict("records"):
        here = effects.loc[tuple(site[name] for name in (*ENCODING, *SITE))].unstack("control")
        here = here.join(texts[texts.columns.intersection(list_text_controls())])
        curated, rows = here[CURATED], []
        for control in (kind for kind in CONTROLS if kind in results.kinds and kind in here):
            differences = (curated - here[control]).dropna()
            estimate = results.estimate(differences)
            row = {"control": control, **estimate, "contrast": estimate["effect"], "n": estimate["n_prompts"]}
            rows.append({**row, "effect": here.loc[differences.index, control].mean()})
        shared = {
            **{name: site[name] for name in (*ENCODING, *SITE)},
            "site": site["name"],
            "clusters": clusters,
            "curated_effect": curated.mean(),
            **_measure_recovery(results, curated, "explicit", texts["explicit"]),
            **_measure_recovery(results, curated, "in_context", texts.get(IN_CONTEXT)),
        }
        yield from ({**shared, **row} for row in _adjust(rows))


def _measure_recovery(
    results: ControlResults, curated: pd.Series, name: str, gaps: pd.Series | None
) -> dict[str, float]:
    """Return the mean gap and the share of it that memories close, of the same prompts, if it is clearly above zero."""
    gaps = pd.Series(dtype=float) if gaps is None else gaps.reindex(curated.index).dropna()
    gap = results.estimate(gaps)
    share = curated.loc[gaps.index].mean() / gap["effect"] if gap["low"] > 0 else np.nan
    return {f"{name}_gap": gap["effect"], f"recovery_{name}": share}


def weigh_chosen(results: ControlResults) -> Iterator[tuple[dict[str, Any], pd.Series]]:
    """Yield the weights of the sites that other clusters choose: in each encoding, and among all encodings (`any`).

    A site counts for a prompt as often as the divisions into folds choose it. With each comes the place: encoding,
    relative, and the site chosen most often (chosen_encoding, layer, magnitude) and how often (chosen_by).
    """
    for weight, by in (("weight", ENCODING), ("weight_any", ["relative"])):
        chosen = results.sites[results.sites[weight] > 0].set_index([*ENCODING, *SITE, "prompt_id"])[weight]
        for _, weights in chosen.groupby(by):
            shares = weights.groupby([*ENCODING, *SITE]).sum() / weights.index.get_level_values("prompt_id").nunique()
            encoding, relative, *site = shares.idxmax()
            yield (
                {
                    "encoding": encoding if weight == "weight" else ANY_ENCODING,
                    "relative": relative,
                    "chosen_encoding": encoding,
                    **dict(zip(SITE, site, strict=True)),
                    "chosen_by": shares.max(),
                },
                weights,
            )


def take_means(values: pd.Series, weights: pd.Series) -> dict[str, pd.Series]:
    """Return the mean of values at each prompt's chosen sites, by control; they are by control, site and prompt."""
    return {
        str(control): (part.droplevel("control") * weights).dropna().groupby("prompt_id").sum()
        for control, part in values.groupby("control")
    }


def measure_at_chosen_sites(results: ControlResults) -> Iterator[tuple[dict[str, Any], dict[str, pd.Series]]]:
    """Yield each place of `weigh_chosen` with the effects there, by control and prompt; texts have one effect each."""
    effects, texts = results.measure(AT_SITES, ["control", *ENCODING, *SITE]), results.measure_texts()
    known = {text: texts[text].dropna() for text in list_text_controls() if text in texts}
    for place, weights in weigh_chosen(results):
        yield place, take_means(effects, weights) | known


def contrast_at_chosen_sites(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield a row for each encoding and control: its contrast at the sites that other clusters choose for each prompt.

    curated_effect and control_effect: the means of both; see `weigh_chosen`.
    """
    for place, means in measure_at_chosen_sites(results):
        rows = []
        for control in (kind for kind in CONTROLS if kind in results.kinds and kind in means):
            both = pd.concat({"curated": means[CURATED], "control": means[control]}, axis=1, join="inner")
            row = {"memories": control, **results.estimate(both["curated"] - both["control"])}
            rows.append({**row, **{f"{name}_effect": both[name].mean() for name in both}})
        yield from ({**place, **row} for row in _adjust(rows))


def list_contrasts(results: ControlResults) -> dict[tuple[str, bool], pd.Series]:
    """Return how much more each prompt's own memory does than shuffled ones at the sites chosen for it, in nats.

    The keys are encoding (`any`: chosen among all) and relative; there are none without shuffled memories.
    """
    if SHUFFLED not in results.kinds:
        return {}
    return {
        (place["encoding"], bool(place["relative"])): (means[CURATED] - means[SHUFFLED]).dropna()
        for place, means in measure_at_chosen_sites(results)
    }


def measure_specificity(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield a row for each encoding: what a memory does for its own answer, more than for others and than others do.

    A prompt's double difference: log P of its answer minus the mean log P of the data set's other answers, with its own
    memory, minus the same with shuffled memories, at the sites that other clusters choose for it. own_answer and
    other_answers are its two parts: what the own memory does more than shuffled ones for the prompt's answer, and for
    the other answers, whose difference it is.
    """
    if SHUFFLED not in results.kinds:
        return
    cells = results.cells[results.cells["part"] == AT_SITES]
    by = [cells[name] for name in ("control", *ENCODING, *SITE, "prompt_id")]
    answers = {"own_answer": "logp_injected", "other_answers": "logp_others"}
    logp = {
        name: cells[column].astype("float64").clip(lower=LEAST_LOGP).groupby(by).mean()
        for name, column in answers.items()
    }
    for place, weights in weigh_chosen(results):
        parts = {}
        for name, values in logp.items():
            means = take_means(values, weights)
            parts[name] = (means[CURATED] - means[SHUFFLED]).dropna()
        differences = (parts["own_answer"] - parts["other_answers"]).dropna()
        yield {**place, **results.estimate(differences), **{name: part.mean() for name, part in parts.items()}}


def _adjust(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Add the p-values adjusted for all controls of a site."""
    for row, p in zip(rows, adjust_p_values([row["p"] for row in rows]), strict=True):
        yield {**row, "p_holm": p}


def compare_positions(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield the effects of curated and shuffled memories and their difference at each choice of positions.

    The site is the one that is chosen most often.
    """
    sites = results.list_named_sites()
    for site in sites[sites["name"].str.contains(CHOSEN, regex=False)].to_dict("records"):
        place = {name: site[name] for name in (*ENCODING, *SITE)}
        # Other positions have one draw only.
        is_here = (results.cells[list(place)] == pd.Series(place)).all(axis=1) & (results.cells["draw"] == 0)
        here = replace(results, cells=results.cells[is_here])
        for part in (AT_SITES, AT_POSITIONS):
            for positions, effects in here.measure(part, ["positions", "control"]).groupby("positions", sort=False):
                yield from ({**place, "positions": positions, **row} for row in _compare_with_shuffled(here, effects))


def compare_doses(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield the effects of curated and shuffled memories and their difference at each relative dose."""
    by = [*ENCODING, *SITE]
    for place, effects in results.measure(AT_DOSES, [*by, "control"]).groupby(by):
        for row in _compare_with_shuffled(results, effects):
            yield {**dict(zip([*ENCODING, "layer", "dose"], place, strict=True)), **row}


def _compare_with_shuffled(results: ControlResults, effects: pd.Series) -> Iterator[dict[str, Any]]:
    table = effects.groupby(["control", "prompt_id"]).mean().unstack("control")
    if SHUFFLED in table:
        table[DIFFERENCE] = table[CURATED] - table[SHUFFLED]
    for control in (name for name in (CURATED, SHUFFLED, DIFFERENCE) if name in table):
        yield {"control": control, **results.estimate(table[control].dropna())}


def count_both_hops(results: ControlResults, known_ranks: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield rescued and broken answers of the prompts both of whose hops the model knows, for each control.

    What it knows, it says behind the first hop and behind the explicit prompt (`analysis.population`). Of those n_both
    prompts, n_missed have another answer behind the obscure prompt, n_rescued of which have the right one after the
    injection, and n_broken of the n_hit others lose it; both are means over the control's draws. The site is the one
    that is chosen most often.
    """
    ranks, said = tabulate_ranks(results.texts), {rank: judge_texts(results.texts, rank) for rank in known_ranks}
    sites, cells = results.list_named_sites(), results.cells[results.cells["part"] == AT_SITES]
    for site in sites[sites["name"].str.contains(CHOSEN, regex=False)].to_dict("records"):
        place = {name: site[name] for name in (*ENCODING, *SITE)}
        here = cells[(cells[list(place)] == pd.Series(place)).all(axis=1)]
        after = {control: part.set_index("prompt_id")["rank_injected"] for control, part in here.groupby("control")}
        after |= {text: ranks[text].dropna() for text in list_text_controls() if text in ranks}
        for control in (CURATED, *(kind for kind in CONTROLS if kind in results.kinds and kind in after)):
            for known_rank in known_ranks:
                prompts = after[control].index.unique()
                counts = {
                    "n_prompts": len(prompts),
                    "n_described": int(ranks.loc[prompts, "first_hop"].notna().sum()),
                    **_count_hops(said[known_rank].loc[prompts], after[control] < known_rank),
                }
                by = {"known_by": "rank", "known_rank": known_rank}
                yield {**place, "site": site["name"], "control": control, **by, **counts}


def count_written_hops(results: ControlResults) -> Iterator[dict[str, Any]]:
    """Yield the counts of `count_both_hops` by what the model writes, at the site chosen for each prompt by others."""
    if results.written.empty:
        return
    said = judge_texts(results.texts)
    after_texts = {text: said[text] for text in list_text_controls() if text in said and text in results.kinds}
    for (encoding, relative), part in results.written.groupby(ENCODING):
        layer, magnitude = part.value_counts(list(SITE)).index[0]
        place = {"encoding": encoding, "relative": relative, "layer": layer, "magnitude": magnitude, "site": ON_OTHERS}
        after = {control: own.set_index("prompt_id")["is_right"] for control, own in part.groupby("control")}
        prompts = after[CURATED].index
        for control, right in (after | {text: own.loc[prompts] for text, own in after_texts.items()}).items():
            n_described = int((results.texts["text"] == "first_hop").sum())
            counts = {"n_prompts": len(prompts), "n_described": n_described, **_count_hops(said.loc[prompts], right)}
            yield {**place, "control": control, "known_by": "written", **counts}


def _count_hops(said: pd.DataFrame, said_after: pd.Series) -> dict[str, float]:
    both, hit = said["first_hop"] & said["explicit"], said["obscure"]
    share = said_after.groupby("prompt_id").mean()
    return {
        "n_first_hop": int(said["first_hop"].sum()),
        "n_second_hop": int(said["explicit"].sum()),
        "n_both": int(both.sum()),
        "n_missed": int((both & ~hit).sum()),
        "n_rescued": float(share[both & ~hit].sum()),
        "n_hit": int((both & hit).sum()),
        "n_broken": float((1 - share)[both & hit].sum()),
    }


def list_shortcuts(results: ControlResults, known_rank: int) -> Iterator[dict[str, Any]]:
    """Yield which shortcuts to the answer each prompt offers, with the answer's rank after what is left of it."""
    marks = mark_prompts(results.pairs, judge_texts(results.texts, known_rank))[[*SHORTCUTS]]
    ranks = tabulate_ranks(results.texts).reindex(index=marks.index, columns=["without_entity", "without_relation"])
    yield from marks.join(ranks.add_prefix("rank_")).reset_index().to_dict("records")


def tabulate_controls(every: Sequence[ControlResults], known_ranks: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Return the tables of controls of a study, those of `TABLES`."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for results in every:
        found = {
            "controls": contrast_at_sites(results),
            "control_contrasts": contrast_at_chosen_sites(results),
            "specificity": measure_specificity(results),
            "positions": compare_positions(results),
            "doses": compare_doses(results),
            "both_hops": [*count_both_hops(results, known_ranks), *count_written_hops(results)],
            "shortcuts": list_shortcuts(results, min(known_ranks)),
        }
        for name, made in found.items():
            rows[name] += [{**results.name, **row} for row in made]
    return {name: pd.DataFrame(rows[name]).reindex(columns=columns) for name, columns in TABLES.items()}
