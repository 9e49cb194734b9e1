"""Attention heads read in vocabulary space, explicit prompt against obscure prompt (paper, section 3.2).

A head's output at the last position is multiplied by the unembedding, without the final norm. The tokens with the
highest logits are what the head says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.models.limits import HEADS_AT_ONCE
from memory_injections.models.processed_weights import ProcessedWeights, compute_head_results, read_in_vocabulary
from memory_injections.terms import PROMPT_KINDS, TARGETS

_NAME = pa.dictionary(pa.int32(), pa.string())
_HEAD = [
    ("model", _NAME),
    ("dataset", _NAME),
    ("prompt_id", pa.int32()),
    ("prompt_kind", pa.string()),
    ("layer", pa.int16()),
    ("head", pa.int16()),
]
_TOKEN = [("token_id", pa.int32()), ("token", pa.string()), ("logit", pa.float32())]
TOP_SCHEMA = pa.schema([*_HEAD, ("rank", pa.int16()), *_TOKEN])
TARGETS_SCHEMA = pa.schema([*_HEAD, ("target", pa.string()), *_TOKEN, ("rank", pa.int32()), ("rank_other", pa.int32())])


@dataclass(frozen=True)
class HeadReadings:
    """What the heads say at the end of a few prompts: their top tokens, and how they rate answer and memory.

    `top` has the columns of `TOP_SCHEMA`, and a row for each (prompt_id, prompt_kind, layer, head, rank). `targets` has
    those of `TARGETS_SCHEMA`, and a row for each (prompt_id, prompt_kind, layer, head, target), where the targets are
    those of `terms.TARGETS`: a memory is looked for by its first token in a text, and by the first that is injected.
    Ranks count from 0, the highest logit. `rank_other` is the rank of another pair's target in the same output, the
    null; it is missing if there is no such pair.
    """

    top: pd.DataFrame
    targets: pd.DataFrame


def read_heads(
    cache: ActivationCache, processed: ProcessedWeights, pairs: pd.DataFrame, vocabulary: list[str], top_k: int
) -> Iterator[HeadReadings]:
    """Read every head at the end of every prompt, and yield the readings of a few prompts at a time.

    `pairs` are the prompt pairs that the cache was recorded from, `vocabulary` has the text of each token id, and
    `top_k` is the number of tokens to list for each head.
    """
    n_layers, n_heads = processed.W_O.shape[:2]
    step = max(1, HEADS_AT_ONCE // (n_layers * n_heads))
    prompt_ids = pairs["prompt_id"].tolist()
    token_ids = {name: cache.read_array(f"{name}_id") for name in TARGETS}
    others = find_others(*token_ids.values())
    for start in range(0, len(pairs), step):
        stop = min(start + step, len(pairs))
        rows = others[start:stop]
        targets = {
            name: torch.from_numpy(np.stack([ids[start:stop], np.where(rows < 0, ids[start:stop], ids[rows])], axis=1))
            for name, ids in token_ids.items()
        }
        readings = [
            _read_prompts(cache.rows(f"{kind}.z", start, stop), targets, processed, top_k, prompt_ids[start:stop], kind)
            for kind in PROMPT_KINDS
        ]
        top, rated = (pd.concat(tables, ignore_index=True) for tables in zip(*readings, strict=True))
        alone = [prompt_ids[row] for row in np.flatnonzero(others < 0)]
        rated["rank_other"] = rated["rank_other"].astype("Int32").mask(rated["prompt_id"].isin(alone))
        for table in (top, rated):
            table.insert(0, "model", cache.model)
            table.insert(1, "dataset", cache.dataset)
            table["token"] = [vocabulary[token] for token in table["token_id"]]
        yield HeadReadings(top, rated)


@torch.inference_mode()
def _read_prompts(
    z: Float[Tensor, "prompt layer head d_head"],
    targets: dict[str, Int[Tensor, "prompt 2"]],
    processed: ProcessedWeights,
    top_k: int,
    prompt_ids: Sequence[int],
    kind: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the heads of prompts of one kind: return their top tokens, and how they rate the targets.

    Of each target, there is the prompt's own token and that of another pair.
    """
    logits = read_in_vocabulary(processed, compute_head_results(processed, z.to(processed.W_O.device)))
    top = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    index = _list_heads(prompt_ids, kind, top.values.shape, "rank")
    top_table = index.assign(
        token_id=top.indices.flatten().numpy(force=True), logit=top.values.flatten().numpy(force=True)
    )
    tables = []
    for name, tokens in targets.items():
        token = tokens.to(logits.device)[:, None, None].expand(*logits.shape[:-1], 2)
        logit, other = logits.gather(-1, token).split(1, dim=-1)
        table = _list_heads(prompt_ids, kind, logit.shape, "target").assign(
            target=name,
            token_id=token[..., 0].flatten().numpy(force=True),
            logit=logit.flatten().numpy(force=True),
            rank=count_above(logits, logit).flatten().numpy(force=True),
            rank_other=count_above(logits, other).flatten().numpy(force=True),
        )
        tables.append(table)
    return top_table, pd.concat(tables, ignore_index=True)


def find_others(*token_ids: Int[np.ndarray, " prompt"]) -> Int[np.ndarray, " prompt"]:
    """Return for each prompt the row of the next one whose tokens all differ from its own, or -1 if there is none.

    Behind the last prompt comes the first.
    """
    rows = np.arange(len(token_ids[0]))
    others = np.full(len(rows), -1)
    for shift in range(1, len(rows)):
        candidates = np.roll(rows, -shift)
        is_other = np.all([ids != ids[candidates] for ids in token_ids], axis=0)
        others = np.where((others < 0) & is_other, candidates, others)
    return others


def count_above(logits: Float[Tensor, "*head vocab"], values: Float[Tensor, "*head 1"]) -> Int[Tensor, "*head"]:
    """Count the logits above a value along the last axis: the value's rank.

    On a CPU this goes row by row with NumPy, many times as fast as PyTorch: a row stays in the caches.
    """
    if logits.is_cuda:
        return (logits > values).sum(dim=-1)
    rows = zip(logits.reshape(-1, logits.shape[-1]).numpy(), values.reshape(-1).numpy(), strict=True)
    counts = [np.count_nonzero(row > value) for row, value in rows]
    return torch.tensor(counts, dtype=torch.int64).reshape(logits.shape[:-1])


def _list_heads(prompt_ids: Sequence[int], kind: str, shape: torch.Size, last: str) -> pd.DataFrame:
    """List prompt, layer and head of every value of a tensor [prompt, layer, head, `last`], in its order."""
    _, n_layers, n_heads, n_last = shape
    index = pd.MultiIndex.from_product(
        [prompt_ids, [kind], range(n_layers), range(n_heads), range(n_last)],
        names=["prompt_id", "prompt_kind", "layer", "head", last],
    )
    return index.to_frame(index=False)
