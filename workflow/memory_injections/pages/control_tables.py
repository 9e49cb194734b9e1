"""The rows of the tables of controls that the report shows; the files have all of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from memory_injections.analysis.numbers import write_signed
from memory_injections.analysis.population import SHORTCUTS
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.controls.kinds import SHUFFLED
from memory_injections.terms import ANY_ENCODING, CURATED, GENERATION

OF = ["model", "dataset", "encoding", "relative", "layer"]
# What the report compares where the model knows both hops: the memory, another one, and the memory as text.
COMPARED = (CURATED, SHUFFLED, "in_context")


def shorten_tables(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of controls with the rows that a reader needs, if the study has them.

    Of shortcuts, that is how many prompts of each model and data set offer one.
    """
    if "positions" not in tables:
        return {}
    both_hops = tables["both_hops"]
    return {
        "positions": compare_with_shuffled(tables["positions"], ["magnitude", "positions"]),
        "doses": find_best_doses(compare_with_shuffled(tables["doses"], ["dose"])),
        "both_hops": both_hops[both_hops["control"].isin(COMPARED)],
        "shortcuts": count_shortcuts(tables["shortcuts"]),
        # Of written answers, it is a share.
        "by_outcome": tables["by_outcome"].rename(columns={"effect": "outcome_effect"}),
    }


def describe_disagreements(by_outcome: pd.DataFrame | None) -> list[str]:
    """Say where outcomes disagree: a sentence for each model, data set and encoding with several verdicts, or signs."""
    sentences = []
    groups = by_outcome.groupby([*OF[:-1]], sort=False) if by_outcome is not None else ()
    for (model, dataset, encoding, _), rows in groups:
        known = rows[rows["effect"].notna()]
        signs = {np.sign(round(effect, 2)) for effect in known["effect"]} - {0.0}
        if known["verdict"].nunique() < 2 and len(signs) < 2:
            continue
        parts = [
            f"{row.outcome.replace('_', ' ')} {row.verdict} ({write_signed(row.effect)})" for row in known.itertuples()
        ]
        what = "" if encoding == ANY_ENCODING else f" with the encoding {encoding}"
        sentences.append(f"Outcomes disagree for {model} on {dataset}{what}: {', '.join(parts)}.")
    return sentences


def describe_written(by_outcome: pd.DataFrame | None) -> list[str]:
    """Say how many written answers are rescued and broken: a sentence for each model, data set and encoding."""
    if by_outcome is None:
        return []
    written = by_outcome[by_outcome["outcome"] == GENERATION]
    return [
        f"Of the answers that {row.model} writes on {row.dataset}, memories with the encoding {row.encoding} rescue "
        f"{row.n_rescued:.0f} of {row.n_wrong:.0f} wrong ones and break {row.n_broken:.0f} of {row.n_right:.0f} "
        "right ones."
        for row in written.itertuples()
    ]


def count_shortcuts(shortcuts: pd.DataFrame) -> pd.DataFrame:
    """Return how many prompts of each model and data set offer each shortcut: model, dataset, n_prompts and n_*."""
    groups = shortcuts.groupby(["model", "dataset"], sort=False)
    counts = groups[list(SHORTCUTS)].sum().add_prefix("n_")
    return groups.size().rename("n_prompts").to_frame().join(counts).reset_index()


def compare_with_shuffled(effects: pd.DataFrame, places: list[str]) -> pd.DataFrame:
    """Return a row for each place that is injected: effects of curated and shuffled memories, and their difference.

    Columns: model, dataset, encoding, relative, layer, those in `places`, curated_effect, control_effect, and of the
    difference effect, low, high, p (missing without shuffled memories), and n_prompts.
    """
    keys = [*OF, *places]
    own, other, difference = (effects[effects["control"] == name] for name in (CURATED, SHUFFLED, DIFFERENCE))
    table = own[[*keys, "effect", "n_prompts"]].rename(columns={"effect": "curated_effect"})
    shuffled = other[[*keys, "effect"]].rename(columns={"effect": "control_effect"})
    return table.merge(shuffled, on=keys, how="left").merge(
        difference[[*keys, "effect", "low", "high", "p"]], on=keys, how="left"
    )


def find_best_doses(doses: pd.DataFrame) -> pd.DataFrame:
    """Return for each model, data set and encoding the dose at which the curated memories have the highest effect."""
    return doses.loc[doses.groupby(OF, sort=False)["curated_effect"].idxmax()]
