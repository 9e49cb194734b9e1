"""The study's report: one self-contained HTML page."""

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
import yaml
from PIL import Image

from memory_injections.analysis.averages import AVERAGES, EFFECTS
from memory_injections.analysis.effects import N_FOLDS, N_REPEATS
from memory_injections.analysis.hits import AFTER, BEFORE
from memory_injections.analysis.numbers import choose_digits, write_signed
from memory_injections.analysis.paper_tables import INFORMATIVE
from memory_injections.figures.registry import RegisteredFigure, list_figures
from memory_injections.pages.answer import QUESTION, answer_question
from memory_injections.pages.control_tables import describe_disagreements, describe_written, shorten_tables
from memory_injections.pages.findings import (
    drop_unknown,
    list_cases,
    name_compared,
    summarise_study,
    tabulate_findings,
)
from memory_injections.pages.numbers import typeset
from memory_injections.pages.words import explain_words
from memory_injections.paper.scorecard import TOLERANCE
from memory_injections.terms import FIRST_TOKEN, RELATIVE

# How much larger than on paper figures are on the page, whose text is larger, too; in CSS, an inch has 96 pixels.
ZOOM, PIXELS = 1.3, 96
# Where a kind of figure has more files, only those of the first model and data set are unfolded.
SHOWN_OPEN = 8
# The figure that stands beside the answer.
FIRST_FIGURE = "controls"
# What a figure of all models and data sets shows.
WHOLE = "the whole study"
# A table with so many columns is printed across the page.
WIDE = 12
# Of how many prompt pairs of a model and a data set the page shows the tokens.
MOST_TEXTS = 100
LIBRARIES = ("memory-injections", "snakemake", "torch", "transformers", "transformer_lens", "datasets", "pandas")
NAMES = {
    "dataset": "data",
    "prompt_kind": "prompt",
    "n_prompts": "prompts",
    "n_clusters": "clusters",
    "clusters": "clustered by",
    "p_answer": "P(answer)",
    "surprisal": "surprisal (nats)",
    "n_tokens": "tokens",
    "best_by": "best by",
    "n_improved": "improved",
    "paper_layer": "layer from 1",
    "explicit_prompt": "explicit prompt",
    "obscure_prompt": "obscure prompt",
    "says_explicit": "head says (explicit)",
    "says_obscure": "head says (obscure)",
    "answer_rank_explicit": "answer's rank (explicit)",
    "answer_rank_obscure": "answer's rank (obscure)",
    "memory_rank_explicit": "memory's rank (explicit)",
    "memory_rank_obscure": "memory's rank (obscure)",
    "injected_rank_explicit": "injected token's rank (explicit)",
    "injected_rank_obscure": "injected token's rank (obscure)",
    "rank_other": "another pair's rank (explicit)",
    "n_informative": "with an informative head",
    "n_informative_other": "by chance",
    "n_only": "only the first",
    "n_against_only": "only the second",
    "best_rank": "median lowest rank",
    "best_rank_other": "by chance (rank)",
    **{key: f"{name} (%)" for key, name in AVERAGES.items()},
    **{key: f"{name} (nats)" for key, name in EFFECTS.items()},
    "interval": "95 % interval",
    "p_holm": "p (Holm)",
    "p_above": "p, some site above 0",
    "detectable": "detectable",
    "n_effective": "effective clusters",
    "hits_gain": "gain of hits",
    "hits_p": "p (gain)",
    "curated_effect": "curated",
    "random_effect": "random",
    "control_effect": "control",
    "chosen_by": "chosen",
    "chosen_encoding": "encoding chosen",
    "contrast": "over shuffled",
    "own_answer": "own answer",
    "other_answers": "other answers",
    "best_effect": "effect at its best site",
    "n_sites": "sites",
    "n_better": "better",
    "n_worse": "worse",
    "contrast_interval": "95 % interval (over shuffled)",
    "n_both_hops_known": "both hops known",
    "n_composition_missed": "and missed",
    "n_words": "word given",
    "n_without_entity": "without entity",
    "n_without_relation": "without relation",
    "n_counted": "counted",
    "share_improved": "improved",
    "effect_reported": "effect at the paper's site",
    "n_missed": "wrong before",
    "n_rescued": "rescued",
    "n_hit": "right before",
    "n_broken": "broken",
    "p_mcnemar": "p (McNemar)",
    "hits_5_before": "hits@5 before",
    "hits_5": "hits@5 after",
    "hits_10_before": "hits@10 before",
    "hits_10": "hits@10 after",
    "n_beyond": "beyond",
    "max_difference": "largest",
    "median_difference": "median",
    "value": "change (%)",
    "n_kept": "prompts kept",
    "scored_token": "scored token",
    "scored": "scored token",
    "checks": "text check",
    "left_out": "left out",
    "known_by": "known by",
    "known_rank": "known below rank",
    "n_first_hop": "first hop known",
    "n_second_hop": "second hop known",
    "n_both": "both",
    "before": "untouched",
    "outcome_effect": "effect (nats, or share)",
}
COUNTS = (
    "n", "n_beyond", "n_improved", "n_prompts", "n_clusters", "n_sites", "n_better", "n_worse", "n_missed", "n_rescued",
    "n_hit", "n_broken", "n_kept", "scored_token", "n_informative", "n_informative_other", "best_rank",
    "best_rank_other", "rank_other", "n_only", "n_against_only", "n_first_hop", "n_second_hop", "n_both",
)  # fmt: skip
# How a column's values are written: a format, or a function of the value.
FORMATS: dict[str, str | Callable[[float], str]] = {
    **dict.fromkeys(COUNTS, "{:,.0f}"),
    **dict.fromkeys(("chosen_by", "share_improved", *BEFORE, *AFTER, "share"), "{:.0%}"),
    "difference": "{:+.3g}",
    **dict.fromkeys(
        ("paper", "authors", "ours", "max_difference", "median_difference", "p_obscure", "p_injected"), "{:.3g}"
    ),
    **dict.fromkeys(("p", "p_holm", "p_above", "p_below", "p_mcnemar", "hits_p"), "{:.2g}"),
    "p_answer": "{:.4f}",
    "surprisal": "{:.2f}",
    "n_tokens": "{:.1f}",
    **dict.fromkeys(("magnitude", "dose"), "{:g}"),
    **dict.fromkeys(
        (
            *EFFECTS,
            "best_effect",
            "effect_reported",
            "before",
            "outcome_effect",
            "curated_effect",
            "random_effect",
            "control_effect",
            "contrast",
            "own_answer",
            "other_answers",
        ),
        write_signed,
    ),
    "detectable": "{:.2f}",
    "n_effective": "{:.1f}",
    "hits_gain": lambda value: f"{write_signed(100 * value, 1)}\u00a0%",
    **dict.fromkeys((*AVERAGES, "value", "change"), partial(write_signed, digits=1)),
}


def embed_png(png: str | Path) -> str:
    """Return a PNG file as a `data:` address."""
    return f"data:image/png;base64,{base64.b64encode(Path(png).read_bytes()).decode()}"


def scale_width(png: str | Path) -> int:
    """Return the width in CSS pixels at which all figures have text of one size."""
    with Image.open(png) as image:
        return round(ZOOM * PIXELS * image.width / image.info["dpi"][0])


def name_subject(png: str | Path) -> str:
    """Return what a figure's file shows, from its name: `effect.gpt2.hand.curated.unembed.png` shows
    `gpt2.hand.curated.unembed`."""
    return Path(png).stem.partition(".")[2]


def describe_subject(png: str | Path, subjects: Sequence[tuple[str, str]]) -> str:
    """Say in words what a figure's file shows: of which model and data set, memories and encoding."""
    subject = name_subject(png)
    for model, dataset in subjects:
        if f"{subject}.".startswith(f"{model}.{dataset}."):
            *memories, coding = subject.removeprefix(f"{model}.{dataset}").split(".")[1:] or [""]
            kinds = [f"memories: {kind.replace('_', ' ')}" for kind in memories]
            encoding = [f"encoding: {coding.removesuffix(RELATIVE)}"] if coding else []
            doses = ["relative doses"] if coding.endswith(RELATIVE) else []
            return ", ".join([f"{model} on {dataset}", *kinds, *encoding, *doses])
    return WHOLE


def group_paths(pngs: Sequence[str], subjects: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Group the files of a figure by model and data set, in the order of these; others come last, as `WHOLE`."""
    groups: dict[str, list[str]] = {}
    for png in pngs:
        subject = f"{name_subject(png)}."
        own = [f"{model} on {dataset}" for model, dataset in subjects if subject.startswith(f"{model}.{dataset}.")]
        groups.setdefault(own[0] if own else WHOLE, []).append(png)
    return groups


def format_cell(column: str, value: Any) -> str:
    """Format a value of a table's column; a missing value is a dash."""
    if pd.isna(value):
        return "–"
    form = FORMATS.get(column, "{}")
    return form(value) if callable(form) else form.format(value)


def format_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the ends of intervals (`low` and `high`) as one text each, and relative doses said."""
    if "relative" in table:
        is_relative = table["relative"].fillna(False).astype(bool)
        table = table.assign(encoding=table["encoding"].mask(is_relative, table["encoding"] + ", relative doses"))
    if "outcome" in table:
        table = table.assign(outcome=table["outcome"].str.replace("_", " "))
    for part in ("", "contrast_"):
        if f"{part}low" in table:
            ends = zip(table[f"{part}low"], table[f"{part}high"], strict=True)
            texts = [None if pd.isna(low) else _write_interval(low, high) for low, high in ends]
            table = table.assign(**{f"{part}interval": texts})
    return table


def _write_interval(low: float, high: float) -> str:
    digits = choose_digits(low, high)
    return f"{write_signed(low, digits)} to {write_signed(high, digits)}"


def group_texts(pairs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Group prompt pairs as tokens by model and data set; of many, those that a check names come first."""
    groups = {}
    for (model, dataset), own in pairs.groupby(["model", "dataset"], sort=False):
        first = own.sort_values("checks", key=lambda checks: checks.isna(), kind="stable")
        groups[f"{model} on {dataset}"] = own if len(own) < MOST_TEXTS else first.head(MOST_TEXTS)
    return groups


def render_report(
    template: Path,
    *,
    source: Literal["models", "published"],
    walkthrough: bool,
    config: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, pd.DataFrame],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Sequence[str]],
    captions: Mapping[str, str],
) -> str:
    """Return the page's HTML.

    `source` says whose cells it shows: of this study's models, or those that the authors published; `walkthrough`,
    whether there is a walk-through beside it. `config` is what the page prints of the config, `tables` the tables by
    name; `figures` gives the PNG files of each registered figure, and `captions` its caption.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    subjects = list(tables["evidence"][["model", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    environment.filters |= {
        "typeset": typeset,
        "embed_png": embed_png,
        "scale_width": scale_width,
        "describe_subject": partial(describe_subject, subjects=subjects),
        "name_file": lambda path: Path(path).name,
        "group_paths": partial(group_paths, subjects=subjects),
    }
    sections: dict[str, list[RegisteredFigure]] = {}
    for figure in list_figures().values():
        if figures.get(figure.name):
            sections.setdefault(figure.section, []).append(figure)
    return environment.get_template(template.name).render(
        config=config,
        walkthrough=walkthrough,
        reanalysis=source == "published",
        n_folds=N_FOLDS,
        n_repeats=N_REPEATS,
        margin=f"{config['margin']:g}",
        tolerance=f"{TOLERANCE:g}",
        informative=INFORMATIVE,
        config_yaml=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        manifests=manifests,
        pairs=pairs,
        tables={name: format_columns(table) for name, table in {**tables, **shorten_tables(tables)}.items()},
        texts=group_texts(tables["text_check_pairs"]) if "text_check_pairs" in tables else {},
        most_texts=MOST_TEXTS,
        sections=sections,
        first_figure=next((figure for figure in sections.get("Controls", ()) if figure.name == FIRST_FIGURE), None),
        figures=figures,
        captions=captions,
        names=NAMES,
        wide=WIDE,
        words=explain_words(tables, config["margin"]),
        shown_open=SHOWN_OPEN,
        averages=[*AVERAGES, *EFFECTS],
        text=format_cell,
        question=QUESTION,
        answer=answer_question(list_cases(tables), tables, config.get("outcome", FIRST_TOKEN)),
        sentences=summarise_study(tables),
        compared=name_compared(tables),
        of_outcomes=[
            *describe_disagreements(tables.get("by_outcome")),
            *describe_written(tables.get("by_outcome")),
        ],
        findings=drop_unknown(tabulate_findings(tables)),
        libraries={name: version(name) for name in LIBRARIES},
    )
