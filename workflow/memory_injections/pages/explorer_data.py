"""Packing a study's numbers into texts for a web page: gzipped arrays in base64.

Numbers of a site are those of `analysis.averages` and `analysis.hits`, in full. Only a prompt's log-probability after
the injection is rounded (`quantise`).
"""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt16

from memory_injections.analysis.averages import AVERAGES, EFFECTS, average_sites
from memory_injections.analysis.hits import count_hits_by_site, rank_hops, tabulate_ranks
from memory_injections.terms import LEAST_LOGP

CELL = ["prompt_id", "layer", "magnitude"]
COLUMNS = [
    *CELL, "memory", "p_explicit", "p_obscure", "p_injected", "logp_obscure", "logp_injected", "rank_obscure",
    "rank_injected", "top_token", "top_token_id",
]  # fmt: skip
SHARES = ["hits_1_before", "hits_1"]
OUTCOMES = ["n_missed", "n_rescued", "n_hit", "n_broken"]
# In arrays over cells, 0 stands for what is missing.
IMPOSSIBLE = 1
LOWEST, CERTAIN = 2, 65535


def pack(arrays: Mapping[str, np.ndarray], **values: Any) -> str:
    """Pack arrays and JSON values into one text, as the page's `unpack` reads it.

    Gzipped and in base64: the length of a JSON header in 8 bytes, the header, and the arrays in little-endian order,
    each at a multiple of 8 bytes; `arrays` in the header gives the type, offset and length of each.
    """
    entries, parts, offset = {}, [], 0
    for name, array in arrays.items():
        little = array.astype(array.dtype.newbyteorder("<")).tobytes()
        entries[name] = [array.dtype.str[1:], offset, array.size]
        parts.append(_pad_to_words(little, b"\0"))
        offset += len(parts[-1])
    header = _pad_to_words(json.dumps({**values, "arrays": entries}).encode(), b" ")
    body = b"".join([len(header).to_bytes(8, "little"), header, *parts])
    return base64.b64encode(gzip.compress(body, compresslevel=6, mtime=0)).decode()


def _pad_to_words(content: bytes, filling: bytes) -> bytes:
    return content + filling * (-len(content) % 8)


def quantise(logp: Float[np.ndarray, " cell"]) -> tuple[UInt16[np.ndarray, " cell"], float]:
    """Round log-probabilities to 16 bits each, evenly; return them with the step.

    A code c from `LOWEST` to `CERTAIN` stands for (c - CERTAIN) step nats, so a log-probability is off by step / 2 at
    most. Float32 has no probability under exp(-104), so that is less than 0.0008 nats in any study. A log-probability
    of minus infinity becomes `IMPOSSIBLE`.
    """
    possible = np.isfinite(logp)
    logp = np.where(possible, logp, 0)
    step = max(-logp.min(initial=0), 1e-6) / (CERTAIN - LOWEST)
    codes = CERTAIN + np.round(logp / step)
    return np.where(possible, codes, IMPOSSIBLE).astype("uint16"), float(step)


def pack_sites(cells: pd.DataFrame) -> str:
    """Pack the grid of a sweep and, by layer and magnitude, its measures and counts of prompts.

    The page has hits, rescued and broken answers only where ranks are known.
    """
    sites = average_sites(cells)
    measures, counts = [*AVERAGES, *EFFECTS], ["n_improved", "n_prompts"]
    if has_ranks(cells):
        sites = sites.join(count_hits_by_site(cells))
        measures, counts = measures + SHARES, counts + OUTCOMES
    grid = {name: np.unique(cells[name]).tolist() for name in ("layer", "magnitude")}
    sites = sites.reindex(pd.MultiIndex.from_product(grid.values())).fillna(dict.fromkeys(counts, 0))
    return pack(
        {
            **{name: sites[name].to_numpy("float64") for name in measures},
            **{name: sites[name].to_numpy("int32") for name in counts},
        },
        layers=grid["layer"],
        magnitudes=grid["magnitude"],
    )


def has_ranks(cells: pd.DataFrame) -> bool:
    """Return whether any rank of an answer is known; the authors published none."""
    return _has_values(cells, "rank_obscure") and _has_values(cells, "rank_injected")


def pack_cells(cells: pd.DataFrame) -> str:
    """Pack every cell of a sweep, by prompt, layer and magnitude, and its prompts before the injection."""
    axes = [np.unique(cells[name]) for name in CELL]
    shape = tuple(len(axis) for axis in axes)
    position = np.ravel_multi_index(
        [np.searchsorted(axis, cells[name]) for axis, name in zip(axes, CELL, strict=True)], shape
    )

    def spread(codes: np.ndarray) -> np.ndarray:
        whole = np.zeros(np.prod(shape), dtype=codes.dtype)
        whole[position] = codes
        return whole

    prompts = cells.drop_duplicates("prompt_id").sort_values("prompt_id")
    # An answer with probability zero in float32 stays apart: its change is exactly -100 %.
    codes, step = quantise(np.where(cells["p_injected"] > 0, _clip_logp(cells["logp_injected"]), -np.inf))
    arrays = {
        "prompt_id": prompts["prompt_id"].to_numpy("int32"),
        "p_explicit": prompts["p_explicit"].to_numpy("float32"),
        "p_obscure": prompts["p_obscure"].to_numpy("float32"),
        "logp_obscure": _clip_logp(prompts["logp_obscure"]).astype("float32"),
        "logp_injected": spread(codes),
    }
    for name, table in (("rank_obscure", prompts), ("rank_injected", cells)):
        if _has_values(table, name):
            ranks = _shrink_type(table[name].fillna(-1).to_numpy("int64") + 1)
            arrays[name] = ranks if table is prompts else spread(ranks)
    texts: dict[str, list[Any]] = {}
    one_memory = cells.groupby("prompt_id")["memory"].nunique().max() == 1
    arrays["memory"], texts["memories"] = number_texts((prompts if one_memory else cells)["memory"])
    if not one_memory:
        arrays["memory"] = spread(arrays["memory"])
    if _has_values(cells, "top_token_id"):
        codes, tokens = _number_tokens(cells)
        arrays["top_token"], texts = spread(codes), texts | tokens
    return pack(arrays, step=step, least_logp=LEAST_LOGP, **texts)


def pack_prompts(memory_tokens: pd.Series, texts: pd.DataFrame | None) -> str:
    """Pack what is known of each prompt of a model on a data set, whatever is injected.

    `memory_tokens` are by prompt_id: the ids of all tokens that the memory may begin with. In a study with controls,
    `texts` are their scores: hops_rank is the rank below which both hops are known, missing where no description is
    found, and top_token the most probable token after the obscure prompt.
    """
    columns = {"memory_tokens": memory_tokens.tolist()}
    if texts is not None:
        before = texts[texts["text"] == "obscure"].set_index("prompt_id")["top_token"]
        for name, values in (("hops_rank", rank_hops(tabulate_ranks(texts))), ("top_token", before)):
            own = values.reindex(memory_tokens.index).astype(object)
            columns[name] = own.where(own.notna(), None).tolist()
    return pack({}, prompt_id=memory_tokens.index.tolist(), **columns)


def _number_tokens(cells: pd.DataFrame) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Number the top tokens by their ids, as the parts of a character that are tokens share a text; 0 is missing."""
    codes, ids = pd.factorize(cells["top_token_id"])
    numbers = [int(number) for number in ids]
    named = cells.dropna(subset="top_token_id").drop_duplicates("top_token_id")
    names = named["top_token"] if _has_values(named, "top_token") else [f"token {number}" for number in numbers]
    return _shrink_type(codes + 1), {"token_ids": [None, *numbers], "tokens": [None, *names]}


def _clip_logp(logp: pd.Series) -> Float[np.ndarray, " cell"]:
    """Return log-probabilities as `measure_effect` takes them."""
    return logp.astype("float64").clip(LEAST_LOGP, 0).to_numpy()


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _shrink_type(numbers: Int[np.ndarray, " n"]) -> np.ndarray:
    """Return the same numbers in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def number_texts(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """Number a column of texts; return the numbers and the text of each. Number 0 is a missing text."""
    codes, texts = pd.factorize(column)
    return _shrink_type(codes + 1), [None, *map(str, texts)]
