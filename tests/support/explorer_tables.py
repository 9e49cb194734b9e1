"""Small tables for the explorer, and a reader of its packed data that relies only on the description in it."""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from conftest import ROOT
from memory_injections.pages.explorer_data import CELL
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import TARGETS

TEMPLATES = ROOT / "workflow" / "memory_injections" / "pages" / "templates"
PAPER = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text())
SCRIPTS = [TEMPLATES / f"explorer.{part}js" for part in ("data.", "map.", "evidence.", "table.", "prompt.", "")]
# The authors report layer 6, magnitude 3 for this model and data set.
OURS = SweepId("gpt2", "hand", "curated", "unembed")
RANDOM = SweepId("gpt2", "hand", "nouns", "unembed")
THEIRS = SweepId("gpt2-large", "2wmh", "curated", "layer")
N_PROMPTS, LAYERS, MAGNITUDES = 12, range(9), (0.5, 1.0, 3.0)


def grid(prompts: int, layers: int, magnitudes: int | tuple[float, ...], seed: int = 0) -> pd.DataFrame:
    """Cells with random numbers, which do not compress."""
    rng = np.random.default_rng(seed)
    values = magnitudes if isinstance(magnitudes, tuple) else range(1, magnitudes + 1)
    index = pd.MultiIndex.from_product([range(prompts), range(layers), values], names=CELL)
    cells = index.to_frame(index=False).astype({"magnitude": "float64"})
    prompt, n = cells["prompt_id"].to_numpy(), len(cells)
    before = np.exp(-rng.uniform(0.1, 9, prompts))
    cells["memory"] = [f"memory {number}" for number in prompt]
    cells["p_explicit"] = rng.uniform(size=prompts)[prompt].astype("float32")
    cells["p_obscure"] = before[prompt].astype("float32")
    cells["p_injected"] = np.minimum(1, before[prompt] * np.exp(2 * rng.standard_normal(n))).astype("float32")
    cells["rank_obscure"] = rng.integers(50257, size=prompts)[prompt]
    cells["rank_injected"] = rng.integers(50257, size=n)
    cells = add_log_probabilities(cells)
    cells["top_token_id"] = rng.integers(5000, size=n)
    return cells.assign(top_token=[f" token {number}" for number in cells["top_token_id"]])


def add_log_probabilities(cells: pd.DataFrame) -> pd.DataFrame:
    """Log-probabilities can be lower than float32 has probabilities, and minus infinity in the authors' files."""
    before, after = (cells[name].astype("float64").where(cells[name] > 0) for name in ("p_obscure", "p_injected"))
    return cells.assign(
        logp_obscure=np.log(before).fillna(-np.inf).astype("float32"),
        logp_injected=np.log(after).fillna(-120).astype("float32"),
    )


def readings(prompts: int, layers: int = 3, heads: int = 4, top_k: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of attribution: top tokens, and logits and ranks of answer and memory."""
    rng = np.random.default_rng(1)
    axes = {
        "prompt_id": range(prompts),
        "prompt_kind": ["explicit", "obscure"],
        "layer": range(layers),
        "head": range(heads),
    }
    top = pd.MultiIndex.from_product([*axes.values(), range(top_k)], names=[*axes, "rank"]).to_frame(index=False)
    top["token"] = [f" t{number}" for number in rng.integers(400, size=len(top))]
    names = [*axes, "target"]
    targets = pd.MultiIndex.from_product([*axes.values(), list(TARGETS)], names=names).to_frame(index=False)
    # Of answer and memory of a prompt: token 100 and 101 of prompt 0, and so on; of the memory as injected: token 900.
    first = targets["target"].map({"answer": 100, "memory": 101, "injected": 900})
    targets["token_id"] = first + 2 * targets["prompt_id"]
    targets["logit"] = rng.standard_normal(len(targets)).astype("float32")
    return top, targets.assign(**{name: rng.integers(12, size=len(targets)) for name in ("rank", "rank_other")})


def score_texts(prompts: int) -> pd.DataFrame:
    """Scores of texts: both hops of every fourth prompt are known at rank 0, and of every other at rank 2."""
    table = pd.MultiIndex.from_product(
        [range(prompts), ["first_hop", "explicit", "obscure"]], names=["prompt_id", "text"]
    )
    texts = table.to_frame(index=False)
    is_first = texts["text"] == "first_hop"
    texts["rank"] = np.where(is_first, texts["prompt_id"] % 4, 0)
    # The description of the last one is not found.
    texts = texts[~is_first | (texts["prompt_id"] < prompts - 1)]
    return texts.assign(top_token=[f" before {number}" for number in texts["prompt_id"]])


def assess(sweeps: Sequence[SweepId]) -> dict[str, pd.DataFrame]:
    """Tables of evidence on sweeps, with numbers by their places; curated memories have controls and random words."""
    evidence = pd.DataFrame([sweep.columns for sweep in sweeps])
    number = np.arange(len(sweeps))
    evidence = evidence.assign(
        effect=0.25 + number, low=0.13 + number, high=0.5 + number, p=0.03, detectable=0.2, n_prompts=N_PROMPTS,
        n_clusters=6, clusters="memory", p_above=0.004, layer=5, magnitude=3.0, chosen_by=0.75,
        hits_gain=-0.04, hits_low=-0.1, hits_high=0.02, hits_p=0.3,
    )  # fmt: skip
    contrasts = pd.DataFrame([{**OURS.columns, "memories": name} for name in ("random_direction", "shuffled")])
    contrasts = contrasts.assign(effect=[0.5, -0.25], low=[0.25, np.nan], high=[0.75, np.nan], curated_effect=0.25)
    words = contrasts.head(1).assign(memories="nouns", random_effect=0.13)
    return {
        "evidence": evidence,
        "control_contrasts": contrasts.assign(control_effect=[-0.25, 0.5]),
        "contrasts": words,
    }


def tables_in(folder: Path) -> dict[str, Any]:
    """Input for `render_explorer`: two of our sweeps with texts and heads, and one of the authors' with neither."""
    ours = grid(N_PROMPTS, len(LAYERS), MAGNITUDES)
    ours.loc[ours["prompt_id"] == 2, "p_obscure"] = 0
    ours.loc[(ours["prompt_id"] == 3) & (ours["layer"] > 4), "p_injected"] = 0
    ours = add_log_probabilities(ours)
    # Of twelve answers, four are hits before, and about a third after.
    ours.loc[ours["prompt_id"] < 4, "rank_obscure"] = 0
    ours.loc[ours["rank_injected"] % 3 == 0, "rank_injected"] = 0
    # The first token of prompt 7's memory is on top at one site.
    ours.loc[ours.eval("prompt_id == 7 and layer == 5 and magnitude == 3"), ["top_token_id", "top_token"]] = [
        115,
        " token 115",
    ]
    # No noun's prompt is a hit before.
    nouns = grid(N_PROMPTS, 4, (1.0, 3.0), seed=1)
    nouns["memory"] = [f"word {number % 7}" for number in range(len(nouns))]
    theirs = grid(5, 4, (1.0, 2.0), seed=2).drop(columns="top_token")
    theirs[["rank_obscure", "rank_injected"]] = np.nan
    sweeps = {}
    for name, cells in {THEIRS: theirs, RANDOM: nouns, OURS: ours}.items():
        sweeps[name] = folder / f"{name.file_stem}.parquet"
        cells.assign(**name.columns).to_parquet(sweeps[name])
    paths = (folder / "top.parquet", folder / "targets.parquet")
    for path, table in zip(paths, readings(N_PROMPTS), strict=True):
        table.assign(model=OURS.model, dataset=OURS.dataset).to_parquet(path)
    pairs = pd.DataFrame(
        {
            "dataset": OURS.dataset,
            "prompt_id": range(N_PROMPTS),
            **{name: [f"{name} {n:02}" for n in range(N_PROMPTS)] for name in ("explicit_prompt", "memory", "answer")},
            "obscure_prompt": [f"</script><b>“{n:02}”</b> & 'the'" for n in range(N_PROMPTS)],
        }
    )
    return {
        "source": "models",
        "template": TEMPLATES / "explorer.html.j2",
        "style": TEMPLATES / "explorer.css",
        "scripts": SCRIPTS,
        "study": "tiny",
        "sweeps": sweeps,
        "pairs": {"hand": pairs},
        "heads": [paths],
        "texts": {f"{OURS.model}/{OURS.dataset}": score_texts(N_PROMPTS)},
        "known_ranks": (1, 3),
        "tables": assess(list(sweeps)),
        "paper": PAPER,
    }


def unpack(text: str) -> dict[str, Any]:
    """Unpack data packed by `pack`, relying only on the description in it."""
    body = gzip.decompress(base64.b64decode(text))
    start = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:start])
    arrays = {
        name: np.frombuffer(body, f"<{kind}", length, start + offset)
        for name, (kind, offset, length) in header["arrays"].items()
    }
    return header | arrays
