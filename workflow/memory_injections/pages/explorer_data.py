"""Packing a study's numbers into texts for a web page: gzipped arrays in base64.

Averages are those of `analysis.averages`, in full. Only a prompt's probability after the injection is rounded
(`quantise`).
"""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt16

from memory_injections.analysis.averages import AVERAGES, average_sites

CELL = ["prompt_id", "layer", "magnitude"]
COLUMNS = [
    *CELL, "memory", "p_explicit", "p_obscure", "p_injected", "rank_obscure", "rank_injected", "top_token",
    "top_token_id",
]  # fmt: skip
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


def quantise(probability: Float[np.ndarray, " cell"]) -> tuple[UInt16[np.ndarray, " cell"], float]:
    """Round probabilities to 16 bits each, evenly on a logarithmic scale; return them with the scale's step.

    A code c from `LOWEST` to `CERTAIN` stands for exp((c - CERTAIN) step); so a probability is off by a factor of
    exp(step / 2) at most. Float32 has no probability under exp(-104), so that is less than 0.08 % in any study.
    """
    possible = probability > 0
    logarithm = np.log(probability, where=possible, out=np.zeros(len(probability)))
    step = max(-logarithm.min(initial=0), 1e-6) / (CERTAIN - LOWEST)
    codes = CERTAIN + np.round(logarithm / step)
    return np.where(possible, codes, IMPOSSIBLE).astype("uint16"), float(step)


def pack_sites(cells: pd.DataFrame) -> str:
    """Pack the grid of a sweep and, by layer and magnitude, its averages and how many prompts improve."""
    sites = average_sites(cells)
    grid = {name: np.unique(cells[name]).tolist() for name in ("layer", "magnitude")}
    sites = sites.reindex(pd.MultiIndex.from_product(grid.values())).fillna({"n_improved": 0, "n_prompts": 0})
    counts = {name: sites[name].to_numpy("int32") for name in ("n_improved", "n_prompts")}
    return pack(
        {**{name: sites[name].to_numpy("float64") for name in AVERAGES}, **counts},
        layers=grid["layer"],
        magnitudes=grid["magnitude"],
    )


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
    codes, step = quantise(cells["p_injected"].to_numpy("float64"))
    arrays = {
        "prompt_id": prompts["prompt_id"].to_numpy("int32"),
        "p_explicit": prompts["p_explicit"].to_numpy("float32"),
        "p_obscure": prompts["p_obscure"].to_numpy("float32"),
        "p_injected": spread(codes),
    }
    for name, table in (("rank_obscure", prompts), ("rank_injected", cells)):
        if _has_values(table, name):
            ranks = _shrink_type(table[name].fillna(-1).to_numpy("int64") + 1)
            arrays[name] = ranks if table is prompts else spread(ranks)
    texts = {}
    one_memory = cells.groupby("prompt_id")["memory"].nunique().max() == 1
    arrays["memory"], texts["memories"] = number_texts((prompts if one_memory else cells)["memory"])
    if not one_memory:
        arrays["memory"] = spread(arrays["memory"])
    if _has_values(cells, "top_token"):
        arrays["top_token"], texts["tokens"] = number_texts(cells["top_token"])
    elif _has_values(cells, "top_token_id"):
        arrays["top_token"], texts["tokens"] = number_texts(cells["top_token_id"])
        texts["tokens"] = [text and f"token {text}" for text in texts["tokens"]]
    if "top_token" in arrays:
        arrays["top_token"] = spread(arrays["top_token"])
    return pack(arrays, step=step, **texts)


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _shrink_type(numbers: Int[np.ndarray, " n"]) -> np.ndarray:
    """Return the same numbers in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def number_texts(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """Number a column of texts; return the numbers and the text of each. Number 0 is a missing text."""
    codes, texts = pd.factorize(column)
    return _shrink_type(codes + 1), [None, *map(str, texts)]
