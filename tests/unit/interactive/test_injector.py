"""The Python API: the fast engine, hooks on a user's own model, and the slow path agree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memory_injections import Injector, injecting
from memory_injections.errors import LayerError, OverflowingInjectionError, StudyError
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.interactive.pretrained import load_pretrained
from memory_injections.models.tokenisation import Prompt, tokenise_prompt
from one_injection import ANSWER, MAGNITUDE, MEMORY, PROMPT, assert_same_probabilities, slow
from slow_path import Model
from tiny_models import CONFIGS
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

HOOKED = ["gpt2", "llama", "gpt-neox"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def injectors(tiny_models: dict[str, Path]) -> dict[str, Injector]:
    return {name: Injector.load(folder, "cpu") for name, folder in tiny_models.items()}


def boot(folder: Path, dtype: torch.dtype = torch.float32, **compatibility: Any) -> TransformerBridge:
    """Load a model as a user of TransformerLens does."""
    bridge = TransformerBridge.boot_transformers(str(folder), dtype=dtype)
    if compatibility:
        bridge.enable_compatibility_mode(disable_warnings=True, **compatibility)
    return bridge


def load_own(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Load a model and its tokenizer as a user of transformers does."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def hooked(tiny_models: dict[str, Path]) -> dict[str, Injector]:
    """Injectors on models loaded with TransformerLens."""
    return {name: Injector.of(boot(folder)) for name, folder in tiny_models.items()}


FORMS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "in compatibility mode": {"fold_ln": True},
    "in compatibility mode without processing": {"no_processing": True},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", CONFIGS)
def test_engine_and_slow_path_agree(
    name: str, encoding: str, models: dict[str, Model], injectors: dict[str, Injector]
) -> None:
    for layer in (0, 2):
        found = injectors[name].inject(
            PROMPT, MEMORY, layer=layer, magnitude=MAGNITUDE, encoding=encoding, answer=ANSWER, top_k=400
        )
        before, after = slow(models[name], encoding, layer, ANSWER)
        assert (before.exp() - after.exp()).abs().max() > 5e-4
        assert_same_probabilities(found.table, before, after)
        kl = torch.nn.functional.kl_div(after, before, log_target=True, reduction="sum").item()
        assert found.kl == pytest.approx(kl, rel=1e-2)
        assert found.answer is not None
        answer = Prompt.tokenise(models[name].tokenizer, PROMPT, ANSWER).answer
        assert found.answer["token_id"] == answer
        assert found.answer["rank_obscure"] == (before > before[answer]).sum()
        assert found.answer["percent_change"] == pytest.approx(100 * (after - before)[answer].expm1().item(), rel=1e-2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HOOKED)
def test_hooks_and_engine_agree(
    name: str, form: str, tiny_models: dict[str, Path], injectors: dict[str, Injector]
) -> None:
    bridge = boot(tiny_models[name], **FORMS[form])
    weights = {key: value.clone() for key, value in bridge.state_dict().items()}
    hooked = Injector.of(bridge)
    for encoding in ENCODINGS:
        settings: dict[str, Any] = {"encoding": encoding, "answer": ANSWER}
        at: dict[str, Any] = {"layer": 1, "magnitude": MAGNITUDE}
        fast = injectors[name].inject(PROMPT, MEMORY, **at, **settings).table.set_index("token_id")
        own = hooked.inject(PROMPT, MEMORY, **at, **settings).table.set_index("token_id").loc[fast.index]
        np.testing.assert_allclose(own[["p_obscure", "p_injected"]], fast[["p_obscure", "p_injected"]], atol=1e-5)
        grid: dict[str, Any] = {"layers": [0, 2], "magnitudes": [MAGNITUDE, 2 * MAGNITUDE]}
        fast, own = (injector.sweep(PROMPT, MEMORY, **grid, **settings).table for injector in (injectors[name], hooked))
        assert list(own["layer"]) == list(fast["layer"]) == [0, 0, 2, 2]
        np.testing.assert_allclose(own[["p_obscure", "p_injected"]], fast[["p_obscure", "p_injected"]], atol=1e-5)
    for key, value in bridge.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


def test_hooks_in_a_lower_precision(tiny_models: dict[str, Path], injectors: dict[str, Injector]) -> None:
    at: dict[str, Any] = {"layer": 1, "magnitude": MAGNITUDE, "answer": ANSWER}
    exact = injectors["llama"].inject(PROMPT, MEMORY, **at).table.set_index("token_id")
    half = Injector.of(boot(tiny_models["llama"], torch.bfloat16)).inject(PROMPT, MEMORY, **at).table
    rough = half.set_index("token_id")["p_injected"].reindex(exact.index).dropna()
    assert len(rough) > 5
    np.testing.assert_allclose(rough, exact["p_injected"].loc[rough.index], rtol=0.3)


@pytest.mark.parametrize("positions", [[1, 4], [-1], slice(2, 5), slice(-3, None), [3, 3, 1]])
@pytest.mark.parametrize("name", HOOKED)
def test_positions(
    name: str, positions: Any, models: dict[str, Model], injectors: dict[str, Injector], hooked: dict[str, Injector]
) -> None:
    model, ids = models[name], tokenise_prompt(models[name].tokenizer, PROMPT)
    vector = torch.zeros(len(ids), model.processed.W_U.shape[0])
    vector[positions] = MAGNITUDE * model.slow_vector("unembed", MEMORY, 0)
    before, after = model.slow_log_probs(ids, 0, torch.zeros(())), model.slow_log_probs(ids, 0, vector)
    assert (after - slow(model, "unembed", 0)[1]).abs().max() > 1e-3
    for injector in (injectors[name], hooked[name]):
        found = injector.inject(PROMPT, MEMORY, layer=0, magnitude=MAGNITUDE, positions=positions)
        assert_same_probabilities(found.table, before, after)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_head_is_the_whole_layer(name: str, tiny_models: dict[str, Path], injectors: dict[str, Injector]) -> None:
    bridge = boot(tiny_models[name])
    hooked, heads = Injector.of(bridge), []
    for point, hook in bridge.hook_dict.items():
        if point.endswith("attn.hook_result"):
            hook.add_hook(lambda result, hook: heads.append(result.shape))
    for head in (0, 3):
        one = hooked.sweep(PROMPT, MEMORY, layers=[0, 2], magnitudes=[MAGNITUDE], answer=ANSWER, head=head).table
        all_heads = injectors[name].sweep(PROMPT, MEMORY, layers=[0, 2], magnitudes=[MAGNITUDE], answer=ANSWER).table
        np.testing.assert_allclose(one["p_injected"], all_heads["p_injected"], atol=1e-5)
    assert bool(heads) == (name in HOOKED)  # the other architectures do not expose the results of single heads
    assert not bridge.cfg.use_attn_result


@pytest.mark.parametrize("head", [None, 1])
def test_an_exception_leaves_no_hook_behind(head: int | None, tiny_models: dict[str, Path]) -> None:
    bridge, tokens = boot(tiny_models["gpt2"]), torch.tensor([[0, 5, 6, 7]])
    calls: list[str] = []
    bridge.add_hook("blocks.1.hook_attn_out", lambda out, hook: calls.append("own"))
    before = bridge(tokens)
    with (
        pytest.raises(ZeroDivisionError),
        injecting(bridge, torch.ones(32), layer=1, head=head),
        bridge.hooks(fwd_hooks=[("blocks.2.hook_attn_out", lambda out, hook: 1 / 0)]),
    ):
        bridge(tokens)
    with pytest.raises(StudyError), injecting(bridge, torch.ones(32), layer=1, head=head, positions=[9]):
        bridge(tokens)
    with pytest.raises(RuntimeError), injecting(bridge, torch.ones(31), layer=1, head=head):
        bridge(tokens)
    del calls[:]
    torch.testing.assert_close(bridge(tokens), before, rtol=0, atol=0)
    assert calls == ["own"]
    assert sum(len(point.fwd_hooks) for point in {id(p): p for p in bridge.hook_dict.values()}.values()) == 1
    assert not bridge.cfg.use_attn_result


@pytest.mark.parametrize("method", ["inject", "generate"])
def test_the_engines_model_is_left_as_it_was(method: str, tiny_models: dict[str, Path]) -> None:
    model = load_pretrained(tiny_models["llama"], torch.device("cpu"))
    with pytest.raises(OverflowingInjectionError, match=r"^magnitude 1e\+39 at layer 0 overflows"):
        getattr(Injector(model), method)(PROMPT, MEMORY, layer=0, magnitude=1e39)
    assert not [module for module in model.engine.model.modules() if module._forward_hooks]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_sweep_is_many_injections(name: str, injectors: dict[str, Injector]) -> None:
    seen: list[tuple[int, int]] = []
    grid = injectors[name].sweep(
        PROMPT, MEMORY, magnitudes=[0.1, 0.5], answer=ANSWER, progress=lambda *done: seen.append(done)
    )
    assert seen[-1] == (6, 6)
    assert grid.percent_change.shape == (3, 2)
    for site in grid.table.itertuples():
        one = injectors[name].inject(PROMPT, MEMORY, layer=site.layer, magnitude=site.magnitude, answer=ANSWER)
        assert one.answer is not None
        for column in ("p_obscure", "p_injected", "percent_change"):
            assert one.answer[column] == pytest.approx(getattr(site, column), rel=1e-4)
        assert one.table["token"].iloc[0] == site.top_token
        assert grid.percent_change.loc[site.layer, site.magnitude] == site.percent_change
    assert grid.best["p_injected"] == grid.table["p_injected"].max()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", HOOKED)
def test_a_dose_is_the_share_of_the_residual_stream(
    name: str, encoding: str, models: dict[str, Model], injectors: dict[str, Injector], hooked: dict[str, Injector]
) -> None:
    model = models[name]
    prompt = Prompt.tokenise(model.tokenizer, PROMPT, ANSWER)
    slow_dose = model.slow_vector(encoding, MEMORY, 1).norm() / model.slow_residual(list(prompt.tokens), 1).norm()
    for injector in (injectors[name], hooked[name]):
        found = injector.dose(PROMPT, MEMORY, layer=1, encoding=encoding, answer=ANSWER)
        assert found == pytest.approx(slow_dose.item(), rel=1e-3)


def test_without_an_answer_a_sweep_follows_the_most_probable_token(injectors: dict[str, Injector]) -> None:
    grid = injectors["llama"].sweep(PROMPT, MEMORY, layers=[1], magnitudes=[0, MAGNITUDE])
    assert (grid.table["rank_obscure"] == 0).all()
    assert grid.table["top_token"].iloc[0] == grid.token
    assert grid.table["percent_change"].iloc[0] == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("name", HOOKED)
def test_heads(
    name: str, tiny_models: dict[str, Path], models: dict[str, Model], injectors: dict[str, Injector]
) -> None:
    model = models[name]
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(torch.tensor([tokenise_prompt(model.tokenizer, PROMPT)]))
        result = torch.einsum("hd,hdm->hm", cache["blocks.1.attn.hook_z"][0, -1], model.bridge.W_O[1])
        logits = result @ model.bridge.W_U + model.bridge.b_U
    injectors_ = [injectors[name], *(Injector.of(boot(tiny_models[name], **form)) for form in FORMS.values())]
    for injector in injectors_:
        table = injector.heads(PROMPT, [1], top_k=4)
        assert list(table["layer"].unique()) == [1]
        top = logits.topk(4, dim=-1)
        np.testing.assert_array_equal(table["token_id"].to_numpy().reshape(4, 4), top.indices)
        np.testing.assert_allclose(table["logit"].to_numpy().reshape(4, 4), top.values, rtol=1e-4, atol=1e-4)
    assert len(injectors[name].heads(PROMPT, top_k=2)) == 3 * 4 * 2


@pytest.mark.parametrize("name", CONFIGS)
def test_generated_text_is_what_one_pass_a_token_says(
    name: str, models: dict[str, Model], injectors: dict[str, Injector], hooked: dict[str, Injector]
) -> None:
    model, texts = models[name], []
    vector = model.slow_vector("unembed", MEMORY, 2)
    for added in (torch.zeros(()), vector):
        ids = tokenise_prompt(model.tokenizer, PROMPT)
        n_prompt = len(ids)
        for _ in range(8):
            ids.append(int(model.slow_log_probs(ids, 2, added).argmax()))
        assert model.tokenizer.eos_token_id not in ids[n_prompt:]
        texts.append(str(model.tokenizer.decode(ids[n_prompt:])))
    assert texts[0] != texts[1]
    for injector in (injectors[name], hooked[name]):
        found = injector.generate(PROMPT, MEMORY, layer=2, magnitude=1, max_new_tokens=8)
        assert [found.obscure, found.injected] == texts


def test_generation_ends_before_eos(tiny_models: dict[str, Path]) -> None:
    injector = Injector.load(tiny_models["llama"], "cpu")
    at: dict[str, Any] = {"layer": 0, "magnitude": 1, "max_new_tokens": 6}
    whole = injector.generate(PROMPT, MEMORY, **at)
    tokenizer = injector.model.tokenizer
    third = tokenizer(whole.injected, add_special_tokens=False)["input_ids"][2]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(third)
    cut = injector.generate(PROMPT, MEMORY, **at).injected
    assert whole.injected.startswith(cut)
    assert len(cut) < len(whole.injected)


def test_drawn_tokens_differ_by_the_memory_alone(injectors: dict[str, Injector]) -> None:
    def drawn(**changes: Any) -> Any:
        settings: dict[str, Any] = {"layer": 1, "magnitude": MAGNITUDE, "temperature": 1.5, "max_new_tokens": 12}
        return injectors["gpt2"].generate(PROMPT, MEMORY, **settings | changes)

    assert drawn() == drawn()
    assert drawn(seed=1) != drawn()
    assert drawn().obscure != drawn(temperature=0).obscure
    assert drawn(magnitude=0).obscure == drawn(magnitude=0).injected == drawn().obscure


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "layer": ({"layer": 3}, "layer 3 is out of range; the model has 3 layers: 0 to 2"),
    "negative layer": ({"layer": -1}, "layer -1 is out of range"),
    "prompt": ({"prompt": " \n"}, "the prompt is empty"),
    "long prompt": (
        {"prompt": "tulip " * 80},
        r"the prompt has \d+ tokens, BOS included, but the model takes 64; shor",
    ),
    "memory": ({"memory": ""}, "the memory is empty"),
    "encoding": (
        {"encoding": "onehot"},
        "encoding 'onehot' is unknown; use one of unembed, unembed_spaced, embed, layer",
    ),
    "magnitude": ({"magnitude": float("nan")}, "magnitude nan is not a finite number"),
    "infinite magnitude": ({"magnitude": float("inf")}, "magnitude inf is not a finite number"),
    "overflow": ({"magnitude": 1e39}, r"magnitude 1e\+39 at layer 0 overflows"),
    "answer": ({"answer": " "}, "the answer ' ' has no token that carries text"),
    "long memory": ({"memory": "tulip " * 80, "encoding": "layer"}, r"the memory has \d+ tokens"),
    "position": ({"positions": [0, 99]}, r"position 99 is out of range; the prompt has \d+ tokens"),
    "no position": ({"positions": slice(0, 0)}, "select none of the prompt's"),
    "head": ({"head": 4}, "head 4 is out of range; the model has 4 heads: 0 to 3"),
}
KINDS = {"layer": LayerError, "negative layer": LayerError, "overflow": OverflowingInjectionError}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str, injectors: dict[str, Injector], hooked: dict[str, Injector]) -> None:
    (changes, sentence), kind = BAD[case], KINDS.get(case, StudyError)
    asked: dict[str, Any] = {"prompt": PROMPT, "memory": MEMORY, "layer": 0, "magnitude": MAGNITUDE} | changes
    for injector in (injectors["gpt2"], hooked["gpt2"]):
        with pytest.raises(kind, match=sentence):
            injector.inject(**asked)
        grid: dict[str, Any] = {name: value for name, value in asked.items() if name not in ("layer", "magnitude")}
        with pytest.raises(kind, match=f"^{sentence}" if case == "overflow" else sentence):
            injector.sweep(**grid, layers=[asked["layer"]], magnitudes=[asked["magnitude"]])
        if not changes.keys() & {"answer", "positions", "head"}:
            with pytest.raises(kind, match=sentence.replace("included, but", "included.* but")):
                injector.generate(**asked)


def test_what_is_generated_fits_the_context(injectors: dict[str, Injector]) -> None:
    with pytest.raises(StudyError, match="BOS included, and is to get 60 new ones, but the model takes 64"):
        injectors["gpt2"].generate(PROMPT, MEMORY, layer=0, max_new_tokens=60)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_loaded_model_gives_the_numbers_of_its_folder(
    name: str, tiny_models: dict[str, Path], injectors: dict[str, Injector]
) -> None:
    model, tokenizer = load_own(tiny_models[name])
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    own, settings = Injector.of(model, tokenizer), (model.config.to_dict(), repr(tokenizer))
    asked: dict[str, Any] = {"layer": 1, "magnitude": MAGNITUDE, "answer": ANSWER, "top_k": 400}
    for encoding in ENCODINGS:
        torch.testing.assert_close(own.vector(MEMORY, encoding, 1), injectors[name].vector(MEMORY, encoding, 1))
        for positions in (None, [-1]):
            found, expected = (
                injector.inject(PROMPT, MEMORY, **asked, encoding=encoding, positions=positions).table.sort_values(
                    "token_id"
                )
                for injector in (own, injectors[name])
            )
            assert found["token"].tolist() == expected["token"].tolist()
            np.testing.assert_allclose(found["p_injected"], expected["p_injected"], rtol=1e-5)
    generated = own.generate(PROMPT, MEMORY, layer=1, max_new_tokens=6)
    assert generated == injectors[name].generate(PROMPT, MEMORY, layer=1, max_new_tokens=6)
    heads, expected = (injector.heads(PROMPT, [1], 3) for injector in (own, injectors[name]))
    assert heads["token"].tolist() == expected["token"].tolist()
    assert settings == (model.config.to_dict(), repr(tokenizer))
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


def test_a_loaded_model_in_a_lower_precision(tiny_models: dict[str, Path], injectors: dict[str, Injector]) -> None:
    own = Injector.of(*load_own(tiny_models["llama"], torch.bfloat16))
    at: dict[str, Any] = {"layer": 1, "magnitude": MAGNITUDE, "answer": ANSWER, "top_k": 400}
    rough, exact = (
        injector.inject(PROMPT, MEMORY, **at).table.set_index("token_id")["p_injected"].sort_index()
        for injector in (own, injectors["llama"])
    )
    np.testing.assert_allclose(rough, exact, rtol=0.3)
    assert own.generate(PROMPT, MEMORY, layer=1, max_new_tokens=3).injected


def test_a_loaded_model_that_cannot_be_taken(tiny_models: dict[str, Path]) -> None:
    model, tokenizer = load_own(tiny_models["gpt2"])
    with pytest.raises(StudyError, match="the model has no tokenizer; give it as second argument"):
        Injector.of(model)
    with pytest.raises(StudyError, match=r"is in training mode, .* call its `eval\(\)`"):
        Injector.of(model.train(), tokenizer)
    with pytest.raises(StudyError, match="the model is on meta; move it to one of cpu, cuda"):
        Injector.of(model.eval().to("meta"), tokenizer)


def test_a_bridge_without_tokenizer(tiny_models: dict[str, Path]) -> None:
    bridge = boot(tiny_models["gpt2"])
    bridge.tokenizer = None
    with pytest.raises(StudyError, match="has no tokenizer; set its `tokenizer`"):
        Injector.of(bridge)
