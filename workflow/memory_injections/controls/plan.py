"""Planning the cells of controls: which vector goes into which prompt, where, at which positions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from memory_injections.analysis.averages import SITE
from memory_injections.controls.descriptions import Description, describe_pairs, find_span
from memory_injections.controls.kinds import CONTROLS, SHUFFLED, Draw
from memory_injections.controls.settings import AT_DOSES, AT_POSITIONS, AT_SITES, EVERYWHERE, Controls, Position
from memory_injections.controls.sites import CHOSEN
from memory_injections.controls.vector_specs import VectorSpec
from memory_injections.models.tokenisation import Prompt
from memory_injections.sweeps.cell_plan import KeyedPrompts, hash_prompt
from memory_injections.terms import CURATED


@dataclass(frozen=True)
class PlannedPrompts:
    """The prompt pairs of a data set, tokenised, with the descriptions in them."""

    pairs: pd.DataFrame
    prompts: Mapping[int, Prompt]
    keyed: KeyedPrompts
    descriptions: Mapping[int, Description | None]

    @classmethod
    def of_pairs(cls, pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, n_ctx: int | None) -> "PlannedPrompts":
        """Tokenise prompt pairs; see `cell_plan.KeyedPrompts`."""
        keyed = KeyedPrompts.of_pairs(pairs, tokenizer, n_ctx)
        ids, texts = pairs["prompt_id"].tolist(), zip(pairs["obscure_prompt"], pairs["answer"], strict=True)
        prompts = {prompt_id: keyed.prompts[hash_prompt(*text)] for prompt_id, text in zip(ids, texts, strict=True)}
        return cls(pairs, prompts, keyed, dict(zip(ids, describe_pairs(pairs), strict=True)))


def list_specs(planned: PlannedPrompts, controls: Controls, words: Sequence[str], seed: int) -> pd.DataFrame:
    """List what is injected into each prompt: prompt_id, control, draw, source, answer and seed.

    Curated memories come first. A prompt for which a control finds no other text lacks it.
    """
    pairs = planned.pairs
    answers = pd.Series({prompt_id: prompt.answer for prompt_id, prompt in planned.prompts.items()})
    table = pairs[["prompt_id"]].assign(control=CURATED, draw=0, source="", answer=0, seed=0)
    tables = [table]
    for kind in (CONTROLS[name] for name in controls.kinds if CONTROLS[name].build):
        for number in range(controls.count_draws(kind.name, len(pairs))):
            draw = Draw(kind.name, number, seed, words)
            drawn = table.assign(control=kind.name, draw=number)
            if kind.choose:
                drawn["source"] = drawn["prompt_id"].map(kind.choose(pairs, draw))
            if "answer" in kind.takes:
                drawn["answer"] = drawn["prompt_id"].map(answers)
            if "noise" in kind.takes:
                drawn["seed"] = drawn["prompt_id"].map(draw.seed_prompt)
            tables.append(drawn.dropna(subset="source"))
    return pd.concat(tables)


def plan_controls(
    sites: pd.DataFrame,
    planned: PlannedPrompts,
    specs: pd.DataFrame,
    controls: Controls,
    tokenizer: PreTrainedTokenizerBase,
) -> pd.DataFrame:
    """List every cell of the controls of a data set.

    `sites` has the columns of `sites.choose_control_sites`, encoding and relative. All controls go to all of a prompt's
    sites, at all positions. At the site chosen most often, curated memories and the first draw of shuffled ones go to
    other positions, too; and in its layer, with relative doses. Columns: `cells.KEY`, relative, start, stop, prompt_id,
    control, draw, positions and part, which says which of the three it is. The key's memory is that of a spec
    (`vector_specs.VectorSpec`).
    """
    cells = pd.concat(_list_cells(sites, specs, controls), ignore_index=True)
    spans = _list_spans(planned, sorted(cells["positions"].unique()), tokenizer)
    cells = cells.merge(spans, on=["prompt_id", "positions"])
    pairs = planned.pairs.set_index("prompt_id")
    texts = pairs.loc[cells["prompt_id"], ["obscure_prompt", "answer"]].itertuples(index=False)
    cells["prompt"] = [hash_prompt(*both) for both in texts]
    parts = [cells["control"], pairs.loc[cells["prompt_id"], "memory"]]
    parts += [cells[name].tolist() for name in ("start", "stop", "source", "answer", "seed")]
    cells["memory"] = [VectorSpec(*spec).key for spec in zip(*parts, strict=True)]
    return cells.drop(columns=["source", "answer", "seed"])


def _list_cells(sites: pd.DataFrame, specs: pd.DataFrame, controls: Controls) -> Iterator[pd.DataFrame]:
    places = sites[["encoding", "relative", "prompt_id", *SITE]]
    yield places.merge(specs, on="prompt_id").assign(positions=EVERYWHERE, part=AT_SITES)
    compared = specs[specs["control"].isin([CURATED, SHUFFLED]) & (specs["draw"] == 0)]
    most = places[sites["name"].str.contains(CHOSEN, regex=False)]
    for position in controls.positions:
        if position != EVERYWHERE:
            yield most.merge(compared, on="prompt_id").assign(positions=position, part=AT_POSITIONS)
    doses = pd.DataFrame({"magnitude": controls.doses})
    # A sweep with factors and one with relative doses may choose the same layer.
    layers = most.assign(relative=True).drop(columns="magnitude").drop_duplicates()
    yield layers.merge(doses, how="cross").merge(compared, on="prompt_id").assign(positions=EVERYWHERE, part=AT_DOSES)


def _list_spans(
    planned: PlannedPrompts, positions: Sequence[Position], tokenizer: PreTrainedTokenizerBase
) -> pd.DataFrame:
    """Return the positions of each prompt as columns start and stop; without a row where there are none."""
    texts = planned.pairs.set_index("prompt_id")["obscure_prompt"]
    rows = []
    for name, prompt in planned.prompts.items():
        for position in positions:
            span = find_span(tokenizer, prompt, texts[name], planned.descriptions[name], position)
            rows.append((name, position, *(span or (np.nan, np.nan))))
    table = pd.DataFrame(rows, columns=["prompt_id", "positions", "start", "stop"]).dropna()
    return table.astype({"start": int, "stop": int})
