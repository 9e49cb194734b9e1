"""The study's report: one self-contained HTML page."""

import base64
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
import yaml

from memory_injections.analysis.averages import AVERAGES
from memory_injections.analysis.evidence import N_RESAMPLES, N_SPLITS
from memory_injections.pages.registry import RegisteredFigure, list_figures
from memory_injections.paper.scorecard import TOLERANCE

SCALE = 0.56
LIBRARIES = ("memory-injections", "snakemake", "torch", "transformers", "transformer_lens", "datasets", "pandas")
NAMES = {
    "dataset": "data",
    "prompt_kind": "prompt",
    "n_prompts": "prompts",
    "p_answer": "P(answer)",
    "surprisal": "surprisal (nats)",
    "n_tokens": "tokens",
    "best_by": "best by",
    "n_improved": "improved",
    "explicit_prompt": "explicit prompt",
    "obscure_prompt": "obscure prompt",
    "says_explicit": "head says (explicit)",
    "says_obscure": "head says (obscure)",
    "answer_rank_explicit": "rank (explicit)",
    "answer_rank_obscure": "rank (obscure)",
    "chosen_on_all": "on all prompts (%)",
    "held_out_interval": "held out (%), 5 to 95 % of splits",
    "improved": "share improved",
    **{key: f"{name} (%)" for key, name in AVERAGES.items()},
    **{f"{key}_interval": f"{name}, 95 %" for key, name in AVERAGES.items()},
    "n_sites": "sites",
    "n_better": "better",
    "n_worse": "worse",
    "n_beyond": "beyond",
    "max_difference": "largest",
    "median_difference": "median",
}
FORMATS = {
    "chosen_on_all": "{:+.1f}",
    "improved": "{:.0%}",
    **dict.fromkeys(("n", "n_beyond", "n_improved", "n_prompts", "n_sites", "n_better", "n_worse"), "{:.0f}"),
    "difference": "{:+.3g}",
    **dict.fromkeys(("q", "paper", "authors", "ours", "max_difference", "median_difference"), "{:.3g}"),
    "p_answer": "{:.4f}",
    "surprisal": "{:.2f}",
    "n_tokens": "{:.1f}",
    "magnitude": "{:g}",
    **dict.fromkeys(AVERAGES, "{:+.1f}"),
}


def embed_png(png: str | Path) -> str:
    """Return a PNG file as a `data:` address."""
    return f"data:image/png;base64,{base64.b64encode(Path(png).read_bytes()).decode()}"


def scale_width(png: str | Path) -> int:
    """Return the width in CSS pixels at which all figures have text of one size; bytes 16 to 19 are the PNG's width."""
    return round(SCALE * int.from_bytes(Path(png).read_bytes()[16:20], "big"))


def format_cell(column: str, value: Any) -> str:
    """Format a value of a table's column; a missing value is a dash."""
    if pd.isna(value):
        return "–"
    return FORMATS.get(column, "{}").format(value)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that a job wrote; words that look like missing values stay words."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def format_intervals(robustness: pd.DataFrame) -> pd.DataFrame:
    """Return the table with each pair of `_low` and `_high` as one text."""
    intervals = {
        f"{name}_interval": [
            f"{low:+.1f} to {high:+.1f}"
            for low, high in zip(robustness[f"{name}_low"], robustness[f"{name}_high"], strict=True)
        ]
        for name in AVERAGES
    }
    held_out = robustness[["held_out", "held_out_low", "held_out_high"]].itertuples(index=False)
    intervals["held_out_interval"] = [f"{mean:+.1f}, {low:+.1f} to {high:+.1f}" for mean, low, high in held_out]
    return robustness.assign(**intervals)


def summarise_best_sites(table3: pd.DataFrame) -> list[str]:
    """Write a sentence for each best site of curated memories: what they do there."""
    sentences = []
    for row in table3[table3["memories"] == "curated"].itertuples():
        improved, of = int(row.n_improved), int(row.n_prompts)
        spread = (
            "mean and median disagree in sign, so a few prompts carry the mean"
            if row.mean * row.median < 0
            else "mean and median agree in sign"
        )
        sentences.append(
            f"{row.model} on {row.dataset}, {row.encoding} encoding, best {row.best_by} at layer {row.layer} and "
            f"magnitude {row.magnitude:g}: {improved} of {of} prompts improve ({improved / of:.0%}), "
            f"mean {row.mean:+.1f} %, median {row.median:+.1f} %, ratio of means {row.ratio_of_means:+.1f} %; {spread}."
        )
    return sentences


def render_report(
    template: Path,
    *,
    source: Literal["models", "published"],
    config: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, pd.DataFrame],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Sequence[str]],
    captions: Mapping[str, str],
) -> str:
    """Return the page's HTML.

    `source` says whose cells it shows: of this study's models, or those that the authors published. `config` is what
    the page prints of the config, `tables` the tables by name; `figures` gives the PNG files of each registered
    figure, and `captions` its caption.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"embed_png": embed_png, "scale_width": scale_width}
    sections: dict[str, list[RegisteredFigure]] = {}
    for figure in list_figures().values():
        if figures.get(figure.name):
            sections.setdefault(figure.section, []).append(figure)
    return environment.get_template(template.name).render(
        config=config,
        reanalysis=source == "published",
        n_splits=N_SPLITS,
        n_resamples=N_RESAMPLES,
        tolerance=f"{TOLERANCE:g}",
        config_yaml=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        manifests=manifests,
        pairs=pairs,
        tables={**tables, "robustness": format_intervals(tables["robustness"])},
        sections=sections,
        figures=figures,
        captions=captions,
        names=NAMES,
        text=format_cell,
        verdict=summarise_best_sites(tables["table3"]),
        libraries={name: version(name) for name in LIBRARIES},
    )
