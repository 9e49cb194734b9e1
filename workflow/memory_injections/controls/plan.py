"""Planning the cells of controls: which vector goes into which prompt, where, at which positions."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from memory_injections.analysis.clusters import MEMORY, cluster_prompts
from memory_injections.controls.derangements import derange_memories
from memory_injections.controls.descriptions import Description, describe_pairs, find_span
from memory_injections.controls.kinds import (
    AT_DOSES,
    AT_POSITIONS,
    AT_SITES,
    DRAWN,
    EVERYWHERE,
    SHUFFLED,
    Controls,
    Position,
)
from memory_injections.controls.sites import CHOSEN, SITE
from memory_injections.controls.vectors import BUILDERS, Recipe
from memory_injections.data.entities import identify_entity
from memory_injections.models.tokenisation import Prompt
from memory_injections.sweeps.cell_plan import hash_prompt
from memory_injections.terms import CURATED, RELATIVE

USES_ANSWER = ("answer", "without_answer")


@dataclass(frozen=True)
class PlannedPrompts:
    """The prompt pairs of a data set, tokenised, with the descriptions in them."""

    pairs: pd.DataFrame
    prompts: Mapping[int, Prompt]
    descriptions: Mapping[int, Description | None]

    @classmethod
    def of_pairs(cls, pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> "PlannedPrompts":
        ids = pairs["prompt_id"].tolist()
        texts = zip(pairs["obscure_prompt"], pairs["answer"], strict=True)
        prompts = [Prompt.tokenise(tokenizer, *text) for text in texts]
        return cls(pairs, dict(zip(ids, prompts, strict=True)), dict(zip(ids, describe_pairs(pairs), strict=True)))


def draw_seed(seed: int, control: str, prompt_id: int, draw: int) -> int:
    """Return the seed of one draw for one prompt, which depends on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{control}|{prompt_id}|{draw}".encode()).digest()[:6], "big")


def list_sources(pairs: pd.DataFrame, control: str, draw: int, words: Sequence[str], seed: int) -> pd.Series:
    """Return the text whose vector a control takes in place of each prompt's memory, by prompt_id; NaN for none.

    - shuffled: another prompt's memory, within the same cluster unless that is the memory
    - matched_words: a random word, which is not the memory
    - other_entity: the entity that the description names, where the data set says it
    """
    memories = pairs.set_index("prompt_id")["memory"]
    match control:
        case "shuffled":
            groups = cluster_prompts(pairs)
            relations = None if groups.name == MEMORY else groups
            return derange_memories(memories, relations, draw_seed(seed, control, 0, draw))
        case "matched_words":
            numbers = (draw_seed(seed, control, prompt_id, draw) for prompt_id in memories.index)
            taken = [_take_word(words, number, memory) for number, memory in zip(numbers, memories, strict=True)]
            return pd.Series(taken, index=memories.index)
        case "other_entity":
            entities = pairs.set_index("prompt_id")["entity"]
            identities = entities.map(identify_entity)
            return entities.where((identities != "") & (identities != memories.map(identify_entity)))
    return pd.Series("", index=memories.index)


def _take_word(words: Sequence[str], number: int, memory: str) -> str | float:
    """Return the word with a number, counted around the list, or the next one that is not the memory; NaN for none."""
    around = (words[(number + step) % len(words)] for step in range(len(words)))
    return next((word for word in around if identify_entity(word) != identify_entity(memory)), np.nan)


def list_recipes(planned: PlannedPrompts, controls: Controls, words: Sequence[str], seed: int) -> pd.DataFrame:
    """List what is injected into each prompt: prompt_id, control, draw, source, answer and seed.

    Curated memories come first. `matched_words` are left out without words, `other_entity` without such a column.
    """
    pairs = planned.pairs
    missing = {*([] if words else ["matched_words"]), *([] if "entity" in pairs else ["other_entity"])}
    tables = []
    for control in (CURATED, *(kind for kind in controls.kinds if kind in BUILDERS and kind not in missing)):
        for draw in range(controls.draws if control in DRAWN else 1):
            table = list_sources(pairs, control, draw, words, seed).rename("source").reset_index()
            seeds = [draw_seed(seed, control, prompt_id, draw) for prompt_id in table["prompt_id"]]
            is_noise = control == "random_direction"
            tables.append(table.assign(control=control, draw=draw, seed=seeds if is_noise else 0))
    recipes = pd.concat(tables).dropna(subset="source")
    answers = recipes["prompt_id"].map({name: prompt.answer for name, prompt in planned.prompts.items()})
    return recipes.assign(answer=answers.where(recipes["control"].isin(USES_ANSWER), 0))


def plan_controls(
    sites: pd.DataFrame,
    planned: PlannedPrompts,
    recipes: pd.DataFrame,
    controls: Controls,
    tokenizer: PreTrainedTokenizerBase,
) -> pd.DataFrame:
    """List every cell of the controls of a data set.

    `sites` has the columns of `sites.choose_control_sites`, and encoding. All controls go to all of a prompt's sites,
    at all positions. At the site chosen most often, curated memories and the first draw of shuffled ones go to other
    positions, too; and in its layer, with other doses, in the encoding for relative doses. Columns: `cells.KEY`, start,
    stop, prompt_id, control, draw, positions and part, which says which of the three it is. The key's memory is that of
    a recipe (`vectors.Recipe`).
    """
    cells = pd.concat(_list_cells(sites, recipes, controls), ignore_index=True)
    spans = _list_spans(planned, sorted(cells["positions"].unique()), tokenizer)
    cells = cells.merge(spans, on=["prompt_id", "positions"])
    pairs = planned.pairs.set_index("prompt_id")
    own = pairs.loc[cells["prompt_id"], ["obscure_prompt", "answer"]].itertuples(index=False)
    cells["prompt"] = [hash_prompt(*texts) for texts in own]
    parts = [cells["control"], pairs.loc[cells["prompt_id"], "memory"]]
    parts += [cells[name].tolist() for name in ("start", "stop", "source", "answer", "seed")]
    cells["memory"] = [Recipe(*recipe).key for recipe in zip(*parts, strict=True)]
    return cells.drop(columns=["source", "answer", "seed"])


def _list_cells(sites: pd.DataFrame, recipes: pd.DataFrame, controls: Controls) -> Iterator[pd.DataFrame]:
    own = sites[["encoding", "prompt_id", *SITE]]
    yield own.merge(recipes, on="prompt_id").assign(positions=EVERYWHERE, part=AT_SITES)
    compared = recipes[recipes["control"].isin([CURATED, SHUFFLED]) & (recipes["draw"] == 0)]
    most = own[sites["name"].str.contains(CHOSEN, regex=False)]
    for position in controls.positions:
        if position != EVERYWHERE:
            yield most.merge(compared, on="prompt_id").assign(positions=position, part=AT_POSITIONS)
    doses = pd.DataFrame({"magnitude": controls.doses})
    relative = most.assign(encoding=most["encoding"].str.removesuffix(RELATIVE) + RELATIVE).drop(columns="magnitude")
    # A sweep with factors and one with relative doses may choose the same layer.
    relative = relative.drop_duplicates().merge(doses, how="cross")
    yield relative.merge(compared, on="prompt_id").assign(positions=EVERYWHERE, part=AT_DOSES)


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
