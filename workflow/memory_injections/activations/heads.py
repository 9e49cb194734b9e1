"""Attention heads read in vocabulary space, explicit prompt against obscure prompt (paper, section 3.2).

A head's output at the last position is multiplied by the unembedding, without the final norm. The tokens with the
highest logits are what the head says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.models.limits import HEADS_AT_ONCE, TEXTS_READ_AT_ONCE
from memory_injections.models.processed_weights import ProcessedWeights, read_each_head
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
    own = np.stack([cache.read_array(f"{name}_id") for name in TARGETS], axis=1)
    others = find_others(*own.T)
    other = np.where(others[:, None] < 0, own, own[others])
    prompt_ids, is_alone = pairs["prompt_id"].to_numpy(), others < 0
    device, at_once = processed.W_O.device, TEXTS_READ_AT_ONCE // len(PROMPT_KINDS)
    for start in range(0, len(pairs), at_once):
        part = slice(start, min(start + at_once, len(pairs)))
        z = torch.cat([cache.rows(f"{kind}.z", part.start, part.stop) for kind in PROMPT_KINDS])
        tokens = torch.from_numpy(np.stack([own[part], other[part]])).repeat(1, len(PROMPT_KINDS), 1)
        found = _read_texts(z.to(device), tokens.to(device), processed, top_k)
        step = max(1, HEADS_AT_ONCE // (z.shape[1] * z.shape[2]))
        for first in range(0, part.stop - start, step):
            few = slice(start + first, min(start + first + step, part.stop))
            here = {name: values[:, few.start - start : few.stop - start] for name, values in found.items()}
            top, rated = _tabulate(prompt_ids[few], own[few], here)
            rated["rank_other"] = (
                rated["rank_other"].astype("Int32").mask(rated["prompt_id"].isin(prompt_ids[few][is_alone[few]]))
            )
            for table in (top, rated):
                table.insert(0, "model", cache.model)
                table.insert(1, "dataset", cache.dataset)
                table["token"] = [vocabulary[token] for token in table["token_id"]]
            yield HeadReadings(top, rated)


@torch.inference_mode()
def _read_texts(
    z: Float[Tensor, "text layer head d_head"],
    tokens: Int[Tensor, "2 text target"],
    processed: ProcessedWeights,
    top_k: int,
) -> dict[str, np.ndarray]:
    """Read all heads at the end of some texts: return their top tokens, and how they rate the targets.

    The texts are those of some prompt pairs, one kind after the other. `tokens` are the targets of the text's own pair,
    and those of another. What is returned is [kind, pair, layer, head, top token or target].
    """
    found: dict[str, np.ndarray] = {}
    own, other = tokens
    for layer, head, logits in read_each_head(processed, z):
        top = logits.topk(min(top_k, logits.shape[-1]))
        logit = logits.gather(1, own)
        values = {
            "top_id": top.indices.int(),
            "top_logit": top.values,
            "logit": logit,
            "rank": count_above(logits, logit),
            "rank_other": count_above(logits, logits.gather(1, other)),
        }
        for name, value in values.items():
            here = value.numpy(force=True)
            if name not in found:
                found[name] = np.empty((len(z), *processed.W_O.shape[:2], here.shape[1]), here.dtype)
            found[name][:, layer, head] = here
    return {name: values.reshape(len(PROMPT_KINDS), -1, *values.shape[1:]) for name, values in found.items()}


def _tabulate(
    prompt_ids: Int[np.ndarray, " pair"], own: Int[np.ndarray, "pair target"], found: Mapping[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what `_read_texts` found as tables: of the top tokens, and of the targets, whose tokens are `own`."""
    top = _list_heads(prompt_ids, found["top_id"].shape, "rank").assign(
        token_id=found["top_id"].ravel(), logit=found["top_logit"].ravel()
    )
    shape = found["logit"].shape[:-1]
    index = _list_heads(prompt_ids, (*shape, 1), "target")
    tables = [
        index.assign(
            target=name,
            token_id=np.broadcast_to(own[:, number, None, None], shape).ravel(),
            **{column: found[column][..., number].ravel() for column in ("logit", "rank", "rank_other")},
        )
        for number, name in enumerate(TARGETS)
    ]
    return top, pd.concat(tables, ignore_index=True)


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


def count_above(
    logits: Float[Tensor, "*head vocab"], values: Float[Tensor, "*head value"]
) -> Int[Tensor, "*head value"]:
    """Count the logits above each value along the last axis: the value's rank.

    On a CPU this goes row by row with NumPy, many times as fast as PyTorch: a row stays in the caches.
    """
    if logits.is_cuda:
        return torch.stack([(logits > value[..., None]).sum(dim=-1) for value in values.unbind(-1)], dim=-1)
    rows = zip(logits.reshape(-1, logits.shape[-1]).numpy(), values.reshape(-1, values.shape[-1]).numpy(), strict=True)
    counts = [[np.count_nonzero(row > value) for value in these] for row, these in rows]
    return torch.tensor(counts, dtype=torch.int64).reshape(values.shape)


def _list_heads(prompt_ids: Int[np.ndarray, " pair"], shape: Sequence[int], last: str) -> pd.DataFrame:
    """List prompt, layer and head of every value of an array [kind, pair, layer, head, `last`], in its order."""
    index = pd.MultiIndex.from_product(
        [PROMPT_KINDS, prompt_ids, *map(range, shape[2:])],
        names=["prompt_kind", "prompt_id", "layer", "head", last],
    )
    return index.to_frame(index=False)
