"""The tables of mechanisms: averages over prompts of what was measured, with intervals over clusters of prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from memory_injections.analysis.averages import LEAST_LOGP, measure_effect
from memory_injections.analysis.effects import LEVEL, bound_sites
from memory_injections.analysis.hits import HITS_AT
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.controls.kinds import SHUFFLED
from memory_injections.mechanisms.settings import OTHER, OWN
from memory_injections.terms import CURATED, PROMPT_KINDS

OF = ["model", "dataset"]
SITE = ["encoding", "relative", "layer", "magnitude"]
N_RESAMPLES = 999


def average_patches(patches: pd.DataFrame, heads: pd.DataFrame) -> pd.DataFrame:
    """Average the effects of every head over the prompts, beside what attribution says of the same prompts.

    Columns: model, dataset, layer, head; effect, with outputs from the own explicit prompt, and effect_other, from
    another pair's, in nats; attribution, how much higher the answer's logit is in the head's output after the explicit
    prompt than after the obscure one; gap, n_prompts and n_positive (`_describe_patched`). A model and data set without
    a prompt to patch has one row, without head. `heads` is the table of attribution targets.
    """
    effects = patches.pivot_table(index=[*OF, "layer", "head"], columns="source", values="effect", observed=True)
    gains = _measure_gains(patches, heads).groupby([*OF, "layer", "head"], observed=True)["gain"].mean()
    table = effects.reindex(columns=[OWN, OTHER]).set_axis(["effect", "effect_other"], axis=1)
    table["attribution"] = gains
    table = _describe_patched(patches, heads).merge(table.reset_index(), on=OF, how="left")
    described = ["gap", "n_prompts", "n_positive"]
    return table[[*table.columns.drop(described), *described]].astype({"layer": "Int64", "head": "Int64"})


def _describe_patched(patches: pd.DataFrame, heads: pd.DataFrame) -> pd.DataFrame:
    """Describe the patched prompts of each model and data set: model, dataset, gap, n_prompts, n_positive.

    gap is the mean over the n_prompts prompts of how much more probable the answer is after the explicit prompt, in
    nats, missing where there are none; n_positive, of how many prompts with a gap above zero they are.
    """
    prompts = patches.drop_duplicates([*OF, "prompt_id"]).groupby(OF)
    found = prompts.agg(gap=("gap", "mean"), n_prompts=("gap", "size"), n_positive=("n_positive", "first"))
    names = heads[OF].drop_duplicates().astype(str).merge(found.reset_index(), on=OF, how="left")
    return names.fillna({"n_prompts": 0, "n_positive": 0}).astype({"n_prompts": int, "n_positive": int})


def _measure_gains(patches: pd.DataFrame, heads: pd.DataFrame) -> pd.DataFrame:
    """Return how much higher the answer's logit is in heads' outputs after the explicit prompt, by patched prompt."""
    answers = heads[heads["target"] == "answer"].astype({"model": str, "dataset": str})
    here = answers.merge(patches[[*OF, "prompt_id"]].drop_duplicates())
    logits = here.pivot(index=[*OF, "prompt_id", "layer", "head"], columns="prompt_kind", values="logit")
    logits = logits.reindex(columns=list(PROMPT_KINDS))
    return (logits["explicit"] - logits["obscure"]).rename("gain").reset_index()


def compare_with_attribution(patches: pd.DataFrame, heads: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rank-correlate the heads' effects with their attribution, over all heads of a model on a data set.

    Columns: model, dataset, source (`own` explicit prompts, or those of `other` pairs: the null), correlation
    (Spearman's) with its 95 % interval low, high (bootstrap of the prompts); strongest, the head with the largest
    effect, with its effect; gap, n_prompts and n_positive (`_describe_patched`). A model and data set without a prompt
    to patch has one row that says so.
    """
    gains, rows = _measure_gains(patches, heads), []
    for (model, dataset, source), own in patches.groupby([*OF, "source"], sort=False):
        effects = own.pivot(index="prompt_id", columns=["layer", "head"], values="effect")
        here = gains[(gains["model"] == model) & (gains["dataset"] == dataset)]
        attribution = here.pivot(index="prompt_id", columns=["layer", "head"], values="gain").loc[
            effects.index, effects.columns
        ]
        means = effects.mean()
        layer, head = means.idxmax()
        rows.append(
            {
                "model": model,
                "dataset": dataset,
                "source": source,
                **_correlate(effects.to_numpy(), attribution.to_numpy(), seed),
                "strongest": f"layer {layer}, head {head}",
                "effect": means.max(),
            }
        )
    columns = [*OF, "source", "correlation", "low", "high", "strongest", "effect"]
    return _describe_patched(patches, heads).merge(pd.DataFrame(rows, columns=columns), on=OF, how="left")[
        [*columns, "gap", "n_prompts", "n_positive"]
    ]


def _correlate(effects: np.ndarray, attribution: np.ndarray, seed: int) -> dict[str, float]:
    """Correlate the ranks of two measures of heads, each [prompt, head], averaged over the prompts."""
    n = len(effects)
    drawn = np.random.default_rng(seed).integers(n, size=(N_RESAMPLES, n))
    weights = np.stack([np.bincount(rows, minlength=n) for rows in (np.arange(n), *drawn)]) / n
    ranks = [rankdata(weights @ measure, axis=1) for measure in (effects, attribution)]
    x, y = (own - own.mean(axis=1, keepdims=True) for own in ranks)
    with np.errstate(invalid="ignore"):  # there is no correlation where all heads are alike
        found = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    low, high = np.nanquantile(found[1:], [LEVEL / 2, 1 - LEVEL / 2]) if np.isfinite(found[1:]).any() else [np.nan] * 2
    return {"correlation": found[0], "low": low, "high": high}


def average_direct_effects(effects: pd.DataFrame, clusters: Mapping[str, pd.Series], seed: int) -> pd.DataFrame:
    """Average effects and their direct and indirect parts over the prompts, with intervals of the parts.

    Columns: model, dataset, encoding, relative, layer, magnitude, control (`curated`, in every layer; at the site that
    is looked at, `settings.COMPARED`, and `DIFFERENCE`, prompt by prompt), effect, direct, indirect (effect minus
    direct), the ends of their 95 % intervals (`<part>_low`, `<part>_high`), and n_prompts. `clusters` are those of each
    data set's prompts.
    """
    parts, names = effects.assign(indirect=effects["effect"] - effects["direct"]), ["effect", "direct", "indirect"]
    return _average_groups(_add_difference(parts, [*OF, *SITE], names), [*OF, *SITE, "control"], names, clusters, seed)


def average_blocks(blocks: pd.DataFrame, clusters: Mapping[str, pd.Series], seed: int) -> pd.DataFrame:
    """Average over the prompts what blocks say of answer and memory after an injection.

    Columns: model, dataset, encoding, relative, layer, magnitude, block (from 0), target, control (`curated`,
    `settings.COMPARED` and, of the changes alone, `DIFFERENCE`), logp_clean, logp_injected, their difference change
    with its 95 % interval, the median ranks rank_clean and rank_injected, and n_prompts.
    """
    place = [*OF, *SITE, "block", "target"]
    keys, before, after = [*place, "control"], blocks["logp_clean"], blocks["logp_injected"]
    clipped = {"logp_clean": before.clip(lower=LEAST_LOGP), "logp_injected": after.clip(lower=LEAST_LOGP)}
    change = measure_effect(pd.DataFrame({"logp_obscure": before, "logp_injected": after}))
    table = _add_difference(blocks.assign(**clipped, change=change), place, ["change"])
    means = table.groupby(keys, sort=False)[["logp_clean", "logp_injected"]].mean()
    ranks = table.groupby(keys, sort=False)[["rank_clean", "rank_injected"]].median()
    changes = _average_groups(table, keys, ["change"], clusters, seed)
    return changes.merge(means.join(ranks).reset_index(), on=keys)


def _add_difference(table: pd.DataFrame, place: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Return a table with the differences of curated and shuffled memories in some columns, prompt by prompt, added."""
    by = [*place, "prompt_id"]
    own, other = (table[table["control"] == control].set_index(by)[list(names)] for control in (CURATED, SHUFFLED))
    differences = own.sub(other).dropna().reset_index().assign(control=DIFFERENCE)
    return pd.concat([table, differences], ignore_index=True)


def _average_groups(
    table: pd.DataFrame, keys: Sequence[str], names: Sequence[str], clusters: Mapping[str, pd.Series], seed: int
) -> pd.DataFrame:
    """Average columns over the prompts of each group of the `keys`, with intervals over clusters.

    All groups of a control in one encoding have the same prompts, so their intervals come from one calculation.
    """
    shared, tables = [*OF, "encoding", "relative", "control"], []
    places = [name for name in keys if name not in shared]
    for key, own in table.groupby(shared, sort=False):
        values = dict(zip(shared, key, strict=True))
        wide = own.pivot(index="prompt_id", columns=places, values=list(names))
        numbers = pd.factorize(clusters[values["dataset"]].loc[wide.index])[0]
        bounds = bound_sites(wide.to_numpy("float64"), numbers, seed)[:, :2]
        found = pd.DataFrame(bounds, index=wide.columns, columns=["low", "high"])
        parts = [wide.mean()[name].rename(name) for name in names]
        parts += [found.loc[name].add_prefix(f"{name}_") for name in names]
        tables.append(pd.concat(parts, axis=1).reset_index().assign(**values, n_prompts=len(wide)))
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    return pd.concat(tables, ignore_index=True)[[*keys, *columns, "n_prompts"]]


def average_side_effects(cells: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Average side effects over prompts, for each kind of memory at each magnitude.

    Columns: model, dataset, encoding, relative, layer, magnitude, memories; of the prompts that they go into
    (`curated`: the own ones): effect in nats, n_missed, n_rescued, n_hit, n_broken (`analysis.hits`); of other
    prompts: other_effect, other_kl, the mean KL(clean || injected) in nats, other_top_changed, the share with another
    first token, other_n_hit, other_n_broken; of the neutral text: perplexity and perplexity_clean. Shuffled memories
    and random directions have no prompts of their own: both are the same prompts. The other prompts of the curated
    memories are those that they go into as shuffled ones.
    """
    keys = [*OF, *SITE, "memories"]
    own = pd.DataFrame(
        [dict(zip(keys, key, strict=True)) | _describe_cells(part) for key, part in cells.groupby(keys, sort=False)]
    )
    harm = own[own["memories"] != CURATED].rename(
        columns={name: f"other_{name}" for name in ("effect", "kl", "top_changed", "n_hit", "n_broken")}
    )
    other = [name for name in harm if name.startswith("other_")]
    of_curated = harm[harm["memories"] == SHUFFLED].assign(memories=CURATED)
    table = own.drop(columns=["kl", "top_changed"]).merge(pd.concat([of_curated, harm])[[*keys, *other]], on=keys)
    surprisal = texts.groupby(keys)[["surprisal", "surprisal_clean"]].mean().reset_index()
    surprisal = pd.concat([surprisal, surprisal[surprisal["memories"] == SHUFFLED].assign(memories=CURATED)])
    table = table.merge(surprisal, on=keys, how="left")
    perplexities = np.exp(table[["surprisal", "surprisal_clean"]]).set_axis(["perplexity", "perplexity_clean"], axis=1)
    return table.drop(columns=["surprisal", "surprisal_clean"]).join(perplexities)


def _describe_cells(cells: pd.DataFrame) -> dict[str, Any]:
    was, is_now = (cells[name] < HITS_AT[0] for name in ("rank_obscure", "rank_injected"))
    return {
        "effect": measure_effect(cells).mean(),
        "kl": cells["kl"].mean(),
        "top_changed": cells["is_top_changed"].mean(),
        "n_missed": int((~was).sum()),
        "n_rescued": int((~was & is_now).sum()),
        "n_hit": int(was.sum()),
        "n_broken": int((was & ~is_now).sum()),
        "n_prompts": len(cells),
    }
