"""A study's numbers as texts that a web page unpacks: gzipped arrays in base64.

Averages are those of `statistics`, in full; only a prompt's probability after the injection is rounded (`quantised`).
"""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt16

from .statistics import AVERAGES, averages_by_site

CELL = ["prompt_id", "layer", "magnitude"]
COLUMNS = [
    *CELL, "memory", "p_explicit", "p_obscure", "p_injected", "rank_obscure", "rank_injected", "top_token",
    "top_token_id",
]  # fmt: skip
# In arrays over cells, 0 stands for what is missing.
IMPOSSIBLE = 1
LOWEST, CERTAIN = 2, 65535


def pack(arrays: Mapping[str, np.ndarray], **values: Any) -> str:
    """Arrays and JSON values in one text, as the page's `unpack` reads it.

    Gzipped and in base64: the length of a JSON header in 8 bytes, the header, and the arrays in little-endian order,
    each at a multiple of 8 bytes; `arrays` in the header gives the type, offset and length of each.
    """
    entries, parts, offset = {}, [], 0
    for name, array in arrays.items():
        little = array.astype(array.dtype.newbyteorder("<")).tobytes()
        entries[name] = [array.dtype.str[1:], offset, array.size]
        parts.append(_padded(little, b"\0"))
        offset += len(parts[-1])
    header = _padded(json.dumps({**values, "arrays": entries}).encode(), b" ")
    body = b"".join([len(header).to_bytes(8, "little"), header, *parts])
    return base64.b64encode(gzip.compress(body, compresslevel=6, mtime=0)).decode()


def _padded(content: bytes, filling: bytes) -> bytes:
    return content + filling * (-len(content) % 8)


def quantised(probability: Float[np.ndarray, " cell"]) -> tuple[UInt16[np.ndarray, " cell"], float]:
    """Probabilities in 16 bits each, evenly on a logarithmic scale, and the scale's step.

    A code c from `LOWEST` to `CERTAIN` stands for exp((c - CERTAIN) step); so a probability is off by a factor of
    exp(step / 2) at most. Float32 has no probability under exp(-104), so that is less than 0.08 % in any study.
    """
    possible = probability > 0
    logarithm = np.log(probability, where=possible, out=np.zeros(len(probability)))
    step = max(-logarithm.min(initial=0), 1e-6) / (CERTAIN - LOWEST)
    codes = CERTAIN + np.round(logarithm / step)
    return np.where(possible, codes, IMPOSSIBLE).astype("uint16"), float(step)


def pack_sites(cells: pd.DataFrame) -> str:
    """The grid of a sweep, and by layer and magnitude the four averages and how many prompts improve."""
    sites = averages_by_site(cells)
    grid = {name: np.unique(cells[name]).tolist() for name in ("layer", "magnitude")}
    sites = sites.reindex(pd.MultiIndex.from_product(grid.values())).fillna({"n_improved": 0, "n_prompts": 0})
    counts = {name: sites[name].to_numpy("int32") for name in ("n_improved", "n_prompts")}
    return pack(
        {**{name: sites[name].to_numpy("float64") for name in AVERAGES}, **counts},
        layers=grid["layer"],
        magnitudes=grid["magnitude"],
    )


def pack_cells(cells: pd.DataFrame) -> str:
    """Every cell of a sweep, by prompt, layer and magnitude, and what its prompts have before the injection."""
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
    codes, step = quantised(cells["p_injected"].to_numpy("float64"))
    arrays = {
        "prompt_id": prompts["prompt_id"].to_numpy("int32"),
        "p_explicit": prompts["p_explicit"].to_numpy("float32"),
        "p_obscure": prompts["p_obscure"].to_numpy("float32"),
        "p_injected": spread(codes),
    }
    for name, table in (("rank_obscure", prompts), ("rank_injected", cells)):
        if _has(table, name):
            ranks = _unsigned(table[name].fillna(-1).to_numpy("int64") + 1)
            arrays[name] = ranks if table is prompts else spread(ranks)
    texts = {}
    one_memory = cells.groupby("prompt_id")["memory"].nunique().max() == 1
    arrays["memory"], texts["memories"] = coded((prompts if one_memory else cells)["memory"])
    if not one_memory:
        arrays["memory"] = spread(arrays["memory"])
    if _has(cells, "top_token"):
        arrays["top_token"], texts["tokens"] = coded(cells["top_token"])
    elif _has(cells, "top_token_id"):
        arrays["top_token"], texts["tokens"] = coded(cells["top_token_id"])
        texts["tokens"] = [text and f"token {text}" for text in texts["tokens"]]
    if "top_token" in arrays:
        arrays["top_token"] = spread(arrays["top_token"])
    return pack(arrays, step=step, **texts)


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _unsigned(numbers: Int[np.ndarray, " n"]) -> np.ndarray:
    """The same numbers in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def coded(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """A column of texts as codes, and the text of each code; code 0 is a missing text."""
    codes, texts = pd.factorize(column)
    return _unsigned(codes + 1), [None, *map(str, texts)]
