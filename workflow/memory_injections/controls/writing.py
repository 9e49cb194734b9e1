"""The answers that a model writes: after the texts that injections are compared with, and under injections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from memory_injections.analysis.averages import SITE
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.data.answers import list_answers
from memory_injections.injection.generation import (
    count_new_tokens,
    decode_written,
    is_right,
    leaves_open,
    write_answers,
)
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.models.tokenisation import tokenise_prompt
from memory_injections.terms import ANY_ENCODING, PAPER_ENCODING, AnswerPositions

PLACE = ["encoding", "chosen_encoding", "relative", *SITE]


def choose_writing_sites(sites: pd.DataFrame) -> pd.DataFrame:
    """Return the site that other clusters choose most often for each prompt: prompt_id and `PLACE`.

    `sites` are those of `sites.join_sites`. It is the choice that claims are weighed by: with relative doses, among all
    encodings (encoding `any`) if there are several; with factors, in the encoding that the paper uses, if it has sites.
    Otherwise each encoding has its own.
    """
    tables = []
    for relative, alike in sites.groupby("relative"):
        has_papers = not relative and (alike.loc[alike["encoding"] == PAPER_ENCODING, "weight"] > 0).any()
        of_any = alike["weight_any"].max() > 0 and not has_papers
        weight, by = ("weight_any", []) if of_any else ("weight", ["encoding"])
        most = alike.sort_values(weight, ascending=False, kind="stable").drop_duplicates([*by, "prompt_id"])
        most = most[most[weight] > 0].assign(chosen_encoding=most["encoding"])
        tables.append(most.assign(encoding=ANY_ENCODING) if of_any else most)
    columns = ["prompt_id", *PLACE]
    return (
        pd.concat(tables)[columns].sort_values(columns, ignore_index=True) if tables else sites.reindex(columns=columns)
    )


@dataclass(frozen=True)
class Writer:
    """A model that writes answers behind the prompts of a data set; see `generation.write_answers`.

    `scales` has, for each `relative`, what a magnitude is multiplied by for each prompt (by prompt_id) and layer.
    """

    model: LoadedModel
    planned: PlannedPrompts
    scales: Mapping[bool, pd.DataFrame] = field(default_factory=dict)
    positions: AnswerPositions = "prompt"

    def write_after_texts(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Return some texts (see `texts.list_texts`) with what the model writes after them: written and is_right.

        They may have the column next_token_id, which is what the model writes first. What is written ends where
        it is known whether it is right.
        """
        prompts = [tokenise_prompt(self.model.tokenizer, text) for text in texts["prompt"]]
        first = texts["next_token_id"].tolist() if "next_token_id" in texts else None
        return texts.assign(**self._write(prompts, texts["answers"].tolist(), first))

    def write_under_injections(self, places: pd.DataFrame, specs: pd.DataFrame) -> pd.DataFrame:
        """Return what the model writes at some sites under curated memories and controls.

        Columns: `PLACE`, prompt_id, control, written and is_right.
        `places` are those of `choose_writing_sites`, `specs` those of `plan.list_specs`.
        """
        cells = places.merge(specs, on="prompt_id").reset_index(drop=True)
        pairs = self.planned.pairs.set_index("prompt_id")
        vectors = torch.empty(len(cells), self.model.processed.W_U.shape[0])
        for (relative, encoding, layer), part in cells.groupby(["relative", "chosen_encoding", "layer"]):
            memories = pairs.loc[part["prompt_id"], "memory"]
            parts = zip(part["control"], memories, part["source"], part["answer"], part["seed"], strict=True)
            keys = [VectorSpec(control, memory, 0, 0, *rest).key for control, memory, *rest in parts]
            encoded = ControlEncoder(self.model.build_encoder(bool(relative))).encode(
                [(encoding, key) for key in keys], [layer]
            )
            rows = encoded.find_rows(np.arange(len(keys)), np.full(len(keys), layer))
            scale = part["magnitude"].to_numpy() * self.scales[bool(relative)].loc[part["prompt_id"], layer].to_numpy()
            vectors[part.index] = encoded.vectors[rows].cpu() * torch.tensor(scale, dtype=torch.float32)[:, None]
        texts = pairs.loc[cells["prompt_id"]]
        prompts = [tokenise_prompt(self.model.tokenizer, text) for text in texts["obscure_prompt"]]
        answers = [list_answers(pair) for pair in texts.to_dict("records")]
        vectors = vectors.to(self.model.engine.device)
        found = self._write(prompts, answers, None, cells["layer"].tolist(), vectors)
        return cells.assign(**found)[[*PLACE, "prompt_id", "control", *found]]

    def _write(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[str]],
        first: Sequence[int] | None = None,
        layers: Sequence[int] | None = None,
        vectors: torch.Tensor | None = None,
    ) -> Mapping[str, Sequence[str | bool]]:
        """Write answers; one ends where it is known whether it is right."""
        tokenizer = self.model.tokenizer

        def is_open(row: int, ids: Sequence[int]) -> bool:
            return leaves_open(decode_written(tokenizer, prompts[row], ids), answers[row])

        n_new = [count_new_tokens(tokenizer, names) for names in answers]
        tokens = [[token] for token in first] if first else [[] for _ in prompts]
        open_rows = [row for row, ids in enumerate(tokens) if is_open(row, ids)]
        found = write_answers(
            self.model.engine,
            [prompts[row] for row in open_rows],
            [n_new[row] for row in open_rows],
            None if layers is None else [layers[row] for row in open_rows],
            None if vectors is None else vectors[open_rows],
            self.positions,
            lambda index, ids: is_open(open_rows[index], ids),
        )
        for row, ids in zip(open_rows, found, strict=True):
            tokens[row] = ids
        written = [decode_written(tokenizer, prompt, ids) for prompt, ids in zip(prompts, tokens, strict=True)]
        return {"written": written, "is_right": [is_right(*both) for both in zip(written, answers, strict=True)]}
