"""Attention heads read in vocabulary space, explicit prompt against obscure prompt (paper, section 3.2).

A head's output at the last position is multiplied by the unembedding, without the final norm: the tokens with
the highest logits are what the head says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.models.lens import Lens, head_results, in_vocabulary
from memory_injections.models.limits import HEADS_AT_ONCE
from memory_injections.terms import PROMPT_KINDS

_HEAD = [("prompt_id", pa.int32()), ("prompt_kind", pa.string()), ("layer", pa.int16()), ("head", pa.int16())]


_TOKEN = [("token_id", pa.int32()), ("token", pa.string()), ("logit", pa.float32())]


TOP_SCHEMA = pa.schema([*_HEAD, ("rank", pa.int16()), *_TOKEN])


TARGETS_SCHEMA = pa.schema([*_HEAD, ("target", pa.string()), *_TOKEN, ("rank", pa.int32())])


@dataclass(frozen=True)
class HeadReadings:
    """What the heads of a few prompts say: their top tokens, and how they rate answer and memory.

    `top` has a row for each (prompt_id, prompt_kind, layer, head, rank) with token_id, token and logit;
    `targets` one for each (prompt_id, prompt_kind, layer, head, target) with token_id, token, logit and rank.
    Ranks count from 0, the highest logit.
    """

    top: pd.DataFrame
    targets: pd.DataFrame


def read_heads(
    cache: ActivationCache, lens: Lens, pairs: pd.DataFrame, vocabulary: list[str], top_k: int
) -> Iterator[HeadReadings]:
    """Read every head of every prompt, a few prompts at a time; `vocabulary` is the text of each token id."""
    n_layers, n_heads = lens.W_O.shape[:2]
    step = max(1, HEADS_AT_ONCE // (n_layers * n_heads))
    ids = pairs["prompt_id"].tolist()
    for start in range(0, len(pairs), step):
        stop = min(start + step, len(pairs))
        targets = {name: cache.rows(f"{name}_id", start, stop) for name in ("answer", "memory")}
        readings = [
            _read(cache.rows(f"{kind}.z", start, stop), targets, lens, top_k, ids[start:stop], kind)
            for kind in PROMPT_KINDS
        ]
        top, target = (pd.concat(tables, ignore_index=True) for tables in zip(*readings, strict=True))
        for table in (top, target):
            table["token"] = [vocabulary[token] for token in table["token_id"]]
        yield HeadReadings(top, target)


@torch.inference_mode()
def _read(
    z: Float[Tensor, "prompt layer head d_head"],
    targets: dict[str, Int[Tensor, " prompt"]],
    lens: Lens,
    top_k: int,
    prompt_ids: Sequence[int],
    kind: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    logits = in_vocabulary(lens, head_results(lens, z.to(lens.W_O.device)))
    top = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    index = _index(prompt_ids, kind, top.values.shape, "rank")
    top_table = index.assign(
        token_id=top.indices.flatten().numpy(force=True), logit=top.values.flatten().numpy(force=True)
    )
    tables = []
    for name, tokens in targets.items():
        token = tokens.to(logits.device)[:, None, None, None].expand(*logits.shape[:-1], 1)
        own = logits.gather(-1, token)
        table = _index(prompt_ids, kind, own.shape, "target").assign(
            target=name,
            token_id=token.flatten().numpy(force=True),
            logit=own.flatten().numpy(force=True),
            rank=torch.count_nonzero(logits > own, dim=-1).flatten().numpy(force=True),
        )
        tables.append(table)
    return top_table, pd.concat(tables, ignore_index=True)


def _index(prompt_ids: Sequence[int], kind: str, shape: torch.Size, last: str) -> pd.DataFrame:
    _, n_layers, n_heads, n_last = shape
    index = pd.MultiIndex.from_product(
        [prompt_ids, [kind], range(n_layers), range(n_heads), range(n_last)],
        names=["prompt_id", "prompt_kind", "layer", "head", last],
    )
    return index.to_frame(index=False)
