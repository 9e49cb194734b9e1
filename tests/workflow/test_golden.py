"""The workflow and the library reproduce the authors' own numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED, Run
from memory_injections.injection.memory_vectors import sum_unembedding_columns
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.lens import Lens
from memory_injections.models.loading import load_causal_lm
from memory_injections.models.scoring import score_token
from memory_injections.models.tokenisation import (
    Prompt,
    load_tokenizer,
    pad,
    tokenise_memory,
)

TOLERANCE = 1e-4
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def golden_results(golden: Path, snakemake: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the workflow on the golden model and the first 24 handwritten rows."""
    folder = tmp_path_factory.mktemp("golden")
    study: dict[str, Any] = {
        "study": "golden",
        "models": {"tiny-gpt2": {"source": "local", "path": str(golden)}},
        "datasets": {
            "hand": {
                "source": "file",
                "path": str(SHARED / "data" / "handwritten_obscure_explicit_data.csv"),
                "rows": 24,
            }
        },
        "injection": {"encodings": ["unembed", "embed", "layer"], "magnitudes": [1, 4, 10]},
        "attribution": {"top_k": 30, "bos": False},
    }
    results = "results/golden"
    targets = [f"{results}/injections/tiny-gpt2/hand/curated.{e}.parquet" for e in ("unembed", "embed", "layer")]
    done = snakemake(folder, study, *targets, f"{results}/attribution/tiny-gpt2/hand.parquet")
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.mark.parametrize("encoding", ["unembed", "embed", "layer"])
def test_sweep(golden: Path, golden_results: Path, encoding: str) -> None:
    ours = pd.read_parquet(golden_results / f"golden/injections/tiny-gpt2/hand/curated.{encoding}.parquet")
    theirs = pd.read_csv(golden / f"sweep_hand_{encoding}.csv").rename(
        columns={"row": "prompt_id", "tweak": "magnitude"}
    )
    both = ours.merge(theirs, on=["prompt_id", "layer", "magnitude"], validate="one_to_one")
    assert len(both) == len(ours) == len(theirs) == 24 * 4 * 3
    for our, their in (("injected", "edit"), ("obscure", "obs"), ("explicit", "exp")):
        np.testing.assert_allclose(both[f"p_{our}"], both[f"answer_prob_{their}"], rtol=TOLERANCE)


def test_no_answer_is_ranked_among_the_top_that_it_is_not_in(golden: Path, golden_results: Path) -> None:
    ours = pd.read_parquet(golden_results / "golden/injections/tiny-gpt2/hand/curated.unembed.parquet")
    theirs = pd.read_csv(golden / "topk_hand_unembed.csv").rename(columns={"row": "prompt_id", "tweak": "magnitude"})
    answers = {row["row"]: row["answer_first"] for row in json.loads((golden / "sweep_hand_tokens.json").read_text())}
    both = ours.merge(theirs, on=["prompt_id", "layer", "magnitude"], validate="one_to_one")
    in_top = [
        str(answers[prompt_id]) in top.split()
        for prompt_id, top in zip(both["prompt_id"], both["top30_ids"], strict=True)
    ]
    assert ((both["rank_injected"] < 30) == in_top).all()


def test_heads(golden: Path, golden_results: Path) -> None:
    ours = pd.read_parquet(golden_results / "golden/attribution/tiny-gpt2/hand.parquet")
    ours = ours.set_index(["prompt_id", "prompt_kind", "layer", "head"]).sort_index()
    texts = pd.read_csv(golden_results / "shared/datasets/hand.csv")
    checked = 0
    for head in json.loads((golden / "heads.json").read_text()):
        kind = head["sentence"].removesuffix("_sentence")
        prompt_id = texts.index[texts[f"{kind}_prompt"] == head["prompt"]]
        if prompt_id.empty:
            continue
        mine = ours.loc[(prompt_id[0], kind, head["layer"], head["head"])].sort_values("rank")
        logits = np.array(head["top30_vals"])
        np.testing.assert_allclose(mine["logit"], logits, rtol=1e-4, atol=1e-4)
        clear = np.diff(logits, prepend=np.inf, append=-np.inf) < -1e-4
        same = clear[:-1] & clear[1:]
        same[-1] = False  # the 31st logit is not known
        assert (mine["token_id"].to_numpy()[same] == np.array(head["top30_ids"])[same]).all()
        checked += 1
    assert checked == len(json.loads((golden / "heads.json").read_text()))


def test_random_words(golden: Path, golden_results: Path) -> None:
    cells = pd.read_csv(golden / "random.csv")
    texts = pd.read_csv(golden_results / "shared/datasets/hand.csv")
    tokenizer, engine = load_tokenizer(golden), SkippingEngine(load_causal_lm(golden, [CPU]))
    lens = Lens.load(golden_results / "shared/models/tiny-gpt2/lens.safetensors", CPU)
    for (layer, magnitude), group in cells.groupby(["layer", "tweak"]):
        prompts = [
            Prompt.tokenise(tokenizer, texts["obscure_prompt"][row], texts["answer"][row]) for row in group["row"]
        ]
        tokens, lengths = pad([prompt.tokens for prompt in prompts], CPU)
        answers = torch.tensor([prompt.answer for prompt in prompts])
        vectors = torch.stack(
            [sum_unembedding_columns(lens, tokenise_memory(tokenizer, word)) for word in group["word"]]
        )
        clean = engine.clean(tokens, lengths)
        logits = engine.injected(
            clean, [int(layer)] * len(prompts), torch.arange(len(prompts)), float(magnitude) * vectors
        )
        np.testing.assert_allclose(score_token(logits, answers)[0], group["answer_prob_edit"], rtol=TOLERANCE)
    assert len(cells)
