"""An answer behind a bare space token is scored as plain Hugging Face does it: one full pass over prompt and space."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bench import Bench, sweep
from conftest import GOLDEN
from memory_injections import Injector
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.activations.heads import read_heads
from memory_injections.models.tokenisation import list_vocabulary
from slow_path import Model
from transformers import AutoModelForCausalLM, AutoTokenizer

MAGNITUDE = 0.2
DATES = pd.DataFrame(
    {
        "explicit_prompt": ["The Great Depression began in the year", "George Orwell was born in"],
        "obscure_prompt": [
            "The worst slump of the twentieth century began in",
            "The author of Animal Farm was born in",
        ],
        "memory": ["The Great Depression", "George Orwell"],
        "answer": ["1929", "1903"],
    }
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["gpt2", "llama", *GOLDEN, "default_model"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Tiny models, the golden ones, and the default study's."""
    if request.param in ("gpt2", "llama"):
        return request.getfixturevalue("tiny_models")[request.param]
    if request.param in GOLDEN:
        return GOLDEN[request.param]
    return next(request.getfixturevalue(request.param).glob("*/checkpoint"))


def score_fully(folder: Path, kind: str) -> pd.DataFrame:
    """P(1) of every prompt, from its own tokens and a bare space, with its number of tokens and the logits."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    bos, space, digit = (tokenizer.convert_tokens_to_ids(token) for token in (tokenizer.bos_token, "Ġ", "1"))
    rows = []
    for text in DATES[f"{kind}_prompt"]:
        ids = [bos, *tokenizer(text, add_special_tokens=False)["input_ids"], space]
        with torch.no_grad():
            p = model(torch.tensor([ids])).logits[0, -1].softmax(dim=-1)[digit].item()
        rows.append({"ids": ids, "digit": digit, "p": p})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "folder",
    ["gpt2", "llama", *GOLDEN, pytest.param("default_model", marks=pytest.mark.network)],
    indirect=True,
)
def test_everything_is_read_behind_the_bare_space(folder: Path, tmp_path: Path) -> None:
    explicit, obscure = score_fully(folder, "explicit"), score_fully(folder, "obscure")
    bench = Bench(folder, tmp_path)
    bench.write_pairs(DATES)
    cells, _, _ = bench.run(sweep(magnitudes=[0.0, MAGNITUDE]))
    of_prompts = cells.groupby("prompt_id").first()
    np.testing.assert_allclose(of_prompts["p_explicit"], explicit["p"], rtol=1e-4)
    np.testing.assert_allclose(of_prompts["p_obscure"], obscure["p"], rtol=1e-4)
    np.testing.assert_allclose(cells[cells["magnitude"] == 0]["p_injected"], obscure["p"].repeat(3), rtol=1e-4)

    cache = ActivationCache(tmp_path / "cache")
    assert cache["answer_id"].tolist() == obscure["digit"].tolist()
    for kind, scored in (("explicit", explicit), ("obscure", obscure)):
        assert cache[f"{kind}.n_tokens"].tolist() == scored["ids"].map(len).tolist()
        np.testing.assert_allclose(cache[f"{kind}.p_answer"], scored["p"], rtol=1e-4)

    model = Model(folder)
    injected = cells[(cells["magnitude"] == MAGNITUDE) & (cells["layer"] == 1)].sort_values("prompt_id")
    for cell, ids, digit in zip(injected.itertuples(), obscure["ids"], obscure["digit"], strict=True):
        vector = model.slow_vector("unembed", str(cell.memory), layer=1)
        p = model.slow_log_probs(ids, 1, MAGNITUDE * vector)[digit].exp().item()
        assert cell.p_injected == pytest.approx(p, rel=1e-3)


def test_heads_are_read_at_the_bare_space(golden: Path, tmp_path: Path) -> None:
    bench = Bench(golden, tmp_path)
    bench.write_pairs(DATES)
    processed = bench.model.processed
    pairs, vocabulary = pd.read_csv(bench.pairs), list_vocabulary(bench.model.tokenizer, processed.W_U.shape[1])
    (readings,) = read_heads(ActivationCache(tmp_path / "cache"), processed, pairs, vocabulary, 2)
    targets = readings.targets[readings.targets["target"] == "answer"]
    assert set(targets["token"]) == {"1"}
    prompt, answer = DATES.loc[1, "obscure_prompt"], DATES.loc[1, "answer"]
    table = Injector.load(golden, "cpu").heads(prompt, top_k=2, answer=answer)
    own = readings.top.query("prompt_id == 1 and prompt_kind == 'obscure'")
    np.testing.assert_allclose(table["logit"], own["logit"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("of_bridge", [False, True])
def test_the_python_api_reads_behind_the_bare_space(of_bridge: bool, golden: Path, tmp_path: Path) -> None:
    injector = Injector.of(Bench(golden, tmp_path).bridge) if of_bridge else Injector.load(golden, "cpu")
    scored = score_fully(golden, "obscure").iloc[0]
    prompt, memory, _, answer = DATES.loc[0, ["obscure_prompt", "memory", "explicit_prompt", "answer"]]
    found = injector.inject(prompt, memory, layer=1, magnitude=MAGNITUDE, answer=answer).answer
    assert found is not None
    assert found["token"] == "1"
    assert found["p_obscure"] == pytest.approx(scored["p"], rel=1e-4)
    grid = injector.sweep(prompt, memory, layers=[1], magnitudes=[MAGNITUDE], answer=answer)
    assert grid.token == "1"
    assert grid.table["p_obscure"].item() == pytest.approx(scored["p"], rel=1e-4)
    assert grid.table["p_injected"].item() == pytest.approx(found["p_injected"], rel=1e-4)
    without = injector.inject(prompt, memory, layer=1, magnitude=MAGNITUDE).table.set_index("token_id")
    model, ids = AutoModelForCausalLM.from_pretrained(golden), scored["ids"][:-1]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0, -1].softmax(dim=-1)
    np.testing.assert_allclose(without["p_obscure"], expected[without.index.tolist()], rtol=1e-3)
