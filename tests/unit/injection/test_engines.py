"""The engine agrees with an independent slow path, on every architecture and on the default study's model."""

from pathlib import Path

import accelerate
import numpy as np
import pandas as pd
import pytest
import torch
from memory_injections.config.messages import describe_error
from memory_injections.errors import OverflowingInjectionError, StudyError
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.injection.engine import InjectionEngine
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.checkpoints import read_manifest
from memory_injections.models.loading import load_causal_lm
from memory_injections.models.tokenisation import pad
from slow_path import CPU, Model, list_cells, tokenise_pairs
from tiny_models import CONFIGS


@pytest.fixture(scope="session")
def smollm2(default_model: Path) -> Path:
    """The default study's model."""
    (folder,) = (path for path in default_model.iterdir() if path.is_dir())
    manifest = read_manifest(folder / "manifest.json")
    assert (manifest["n_layers"], manifest["n_heads"], manifest["d_model"]) == (30, 9, 576)
    return folder / "checkpoint"


@pytest.fixture(scope="session", params=CONFIGS)
def model_folder(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    return request.getfixturevalue("smollm2") if request.param == "smollm2" else tiny_models[request.param]


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Model:
    return Model(model_folder)


@pytest.mark.parametrize("model_folder", [*CONFIGS, pytest.param("smollm2", marks=pytest.mark.network)], indirect=True)
def test_computed_cells_equal_full_passes_one_by_one(model: Model, pairs: pd.DataFrame) -> None:
    prompts = tokenise_pairs(pairs, model.tokenizer)
    assert len({len(prompt.tokens) for prompt in prompts.values()}) > 4
    layers = sorted({0, 1, model.engine.n_layers // 2, model.engine.n_layers - 1})
    scale = 2 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    cells = list_cells(pairs, layers, [0.0, scale, -3 * scale], list(ENCODINGS))
    found = pd.concat(model.computer.compute(cells.sample(frac=0.4, random_state=0), prompts))
    assert len(found) == round(0.4 * len(cells))
    moved = 0
    for cell in found.sample(20, random_state=0).itertuples():
        ids, answer = prompts[cell.prompt].tokens, prompts[cell.prompt].answer
        clean = model.slow_log_probs(list(ids), cell.layer, torch.zeros(()))
        vector = model.slow_vector(cell.encoding, cell.memory, cell.layer)
        slow = model.slow_log_probs(list(ids), cell.layer, cell.magnitude * vector)
        assert cell.logp_obscure == pytest.approx(clean[answer].item(), abs=2e-4)
        assert cell.logp_injected == pytest.approx(slow[answer].item(), abs=2e-4)
        assert cell.p_injected == pytest.approx(slow[answer].exp().item(), rel=3e-4)
        kl = torch.nn.functional.kl_div(slow.double(), clean.double(), log_target=True, reduction="sum").item()
        assert cell.kl == pytest.approx(kl, rel=1e-2, abs=1e-5)
        best = slow.topk(2).values
        assert slow[cell.top_token_id].item() == pytest.approx(best[0].item(), abs=1e-3)
        beaten_by = (slow > slow[answer] + 1e-4).sum().item(), (slow > slow[answer] - 1e-4).sum().item()
        assert beaten_by[0] <= cell.rank_injected <= beaten_by[1]
        moved += abs(cell.logp_injected - cell.logp_obscure) > 1e-3
    assert moved > 5


def test_cells_at_some_positions_equal_full_passes_one_by_one(model: Model, pairs: pd.DataFrame) -> None:
    prompts = tokenise_pairs(pairs, model.tokenizer)
    scale = 3 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    cells = list_cells(pairs, [0, model.engine.n_layers - 1], [scale], ["unembed", "layer"])
    lengths = cells["prompt"].map(lambda prompt: len(prompts[prompt].tokens))
    spans = {"without BOS": (1, lengths), "last": (lengths - 1, lengths), "not the last": (2, lengths - 1)}
    cells = pd.concat(
        [cells.assign(span=name, start=start, stop=stop) for name, (start, stop) in spans.items()], ignore_index=True
    )
    found = pd.concat(model.computer.compute(cells, prompts)).sort_index()
    for cell in found.groupby(["span", "layer"]).sample(3, random_state=0).itertuples():
        ids, answer = list(prompts[cell.prompt].tokens), prompts[cell.prompt].answer
        vectors = torch.zeros(len(ids), model.processed.W_U.shape[0])
        vectors[cell.start : cell.stop] = cell.magnitude * model.slow_vector(cell.encoding, cell.memory, cell.layer)
        slow = model.slow_log_probs(ids, cell.layer, vectors)
        assert cell.logp_injected == pytest.approx(slow[answer].item(), abs=2e-4)
    # Behind the last block's attention, only the last position counts.
    moved = (found["logp_injected"] - found["logp_obscure"]).abs()
    is_lost = (found["layer"] == model.engine.n_layers - 1) & (found["span"] == "not the last")
    assert moved[is_lost].max() < 1e-5
    assert moved[~is_lost].groupby([found["span"], found["layer"]]).max().min() > 1e-3


def test_magnitude_zero_is_no_injection(model: Model, pairs: pd.DataFrame) -> None:
    prompts = tokenise_pairs(pairs, model.tokenizer)
    cells = list_cells(pairs, [0, model.engine.n_layers - 1], [0.0, 0.5], ["unembed"])
    found = pd.concat(model.computer.compute(cells, prompts))
    none, some = found[found["magnitude"] == 0], found[found["magnitude"] == 0.5]
    np.testing.assert_allclose(none["p_injected"], none["p_obscure"], rtol=2e-5)
    assert (none["rank_injected"] == none["rank_obscure"]).all()
    assert none["kl"].abs().max() < 1e-5
    assert (some["kl"] > 0).all()


def test_both_engines_follow_one_protocol(model: Model, pairs: pd.DataFrame) -> None:
    rows = [list(prompt.tokens) for prompt in tokenise_pairs(pairs, model.tokenizer).values()]
    vectors = 0.1 * torch.randn(len(rows), model.processed.W_U.shape[0], generator=torch.Generator().manual_seed(0))
    layers = sorted([0, model.engine.n_layers - 1] * len(rows))[: len(rows)]
    engines: list[InjectionEngine] = [model.engine, HookedEngine(model.bridge)]
    assert not issubclass(HookedEngine, SkippingEngine)
    known, clean, injected = [], [], []
    for engine in engines:
        known.append((engine.n_layers, engine.device, engine.dtype))
        before = engine.clean(*pad(rows, CPU[0]))
        clean.append(before.logits.log_softmax(dim=1))
        injected.append(engine.injected(before, layers, torch.arange(len(rows)), vectors).log_softmax(dim=1))
    assert known == [(len(model.processed.W_O), CPU[0], torch.float32)] * 2
    torch.testing.assert_close(*clean, rtol=0, atol=2e-4)
    torch.testing.assert_close(*injected, rtol=0, atol=2e-4)
    assert (injected[0] - clean[0]).abs().max() > 1e-3


def test_a_batch_of_many_lengths_is_the_same_as_one_by_one(model: Model, pairs: pd.DataFrame) -> None:
    rows = [list(prompt.tokens) for prompt in tokenise_pairs(pairs, model.tokenizer).values()]
    vector = torch.randn(len(rows), model.processed.W_U.shape[0], generator=torch.Generator().manual_seed(0))
    layer = model.engine.n_layers // 2
    together = model.engine.clean(*pad(rows, CPU[0]))
    logits = model.engine.injected(together, [layer] * len(rows), torch.arange(len(rows)), vector)
    for row, ids in enumerate(rows):
        alone = model.engine.clean(*pad([ids], CPU[0]))
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)
        one = model.engine.injected(alone, [layer], torch.tensor([0]), vector[[row]])
        torch.testing.assert_close(logits[row], one[0], rtol=1e-4, atol=1e-4)


def test_a_cell_does_not_depend_on_its_batch(model: Model, pairs: pd.DataFrame) -> None:
    prompts = tokenise_pairs(pairs, model.tokenizer)
    cells = list_cells(pairs.iloc[::2], [0, model.engine.n_layers - 1], [0.5, 1.0, 2.0], ["unembed"])
    together = pd.concat(model.computer.compute(cells, prompts)).sort_index()
    few = model.build_computer(model.engine)
    few.batches.max_tokens = 40
    apart = pd.concat(few.compute(cells, prompts)).sort_index()
    columns = ["p_obscure", "p_injected"]
    np.testing.assert_allclose(apart[columns], together[columns], rtol=1e-6)


def test_blocks_below_the_injection_and_its_own_attention_do_not_run(model: Model, pairs: pd.DataFrame) -> None:
    rows = [list(prompt.tokens) for prompt in tokenise_pairs(pairs, model.tokenizer).values()]
    engine, layer = model.engine, model.engine.n_layers - 2
    clean = engine.clean(*pad(rows, CPU[0]))
    seen: list[tuple[str, int, torch.Size | None]] = []

    def record(kind: str, index: int):
        return lambda module, args, output: seen.append((kind, index, args[0].shape if args else None))

    writers = engine.components.last_writers
    projections = [(block, "norm", i) for i, block in enumerate(engine.components.blocks)]
    leaves = [(next(m for m in b.modules() if "norm" in type(m).__name__.lower()), k, i) for b, k, i in projections]
    leaves += [(attention, "attention", i) for i, attention in enumerate(engine.components.attention)]
    leaves += [(writer, "writer", i) for i, writer in enumerate(writers)] + [(engine.components.unembed, "unembed", 0)]
    inner = [m for m in engine.components.attention[layer].modules() if isinstance(m, torch.nn.Linear)]
    leaves += [(module, "own attention", i) for i, module in enumerate(inner)]
    hooks = [module.register_forward_hook(record(kind, index)) for module, kind, index in leaves]
    try:
        engine.injected(
            clean, [layer] * len(rows), torch.arange(len(rows)), torch.zeros(len(rows), model.processed.W_U.shape[0])
        )
    finally:
        for hook in hooks:
            hook.remove()
    ran = {(kind, index) for kind, index, _ in seen}
    assert {index for kind, index in ran if kind == "norm"} == {layer, layer + 1}
    assert not [index for kind, index in ran if kind == "own attention"]
    assert {index for kind, index in ran if kind == "writer"} == {0, 1}
    assert all(shape and shape[1] == 1 for kind, _, shape in seen if kind in ("writer", "unembed"))


def test_in_a_batch_of_many_layers_each_cell_joins_at_its_own(model: Model, pairs: pd.DataFrame) -> None:
    rows = [list(prompt.tokens) for prompt in tokenise_pairs(pairs, model.tokenizer).values()]
    engine, last = model.engine, model.engine.n_layers - 1
    clean = engine.clean(*pad(rows, CPU[0]))
    layers = [0] * 40 + [1] * 3 + [last] * 5
    prompts = torch.arange(len(layers)) % len(rows)
    vectors = torch.randn(len(layers), model.processed.W_U.shape[0], generator=torch.Generator().manual_seed(0))
    watched = {f"block {layer}": block for layer, block in enumerate(engine.components.blocks)}
    watched["output matrix of the last attention"] = engine.components.last_writers[0]
    n_rows: dict[str, int] = {}

    def count(name: str):
        return lambda module, args, output: n_rows.update(
            {name: len(output[0] if isinstance(output, tuple) else output)}
        )

    hooks = [module.register_forward_hook(count(name)) for name, module in watched.items()]
    try:
        together = engine.injected(clean, layers, prompts, vectors)
    finally:
        for hook in hooks:
            hook.remove()
    expected = {f"block {layer}": 40 + 3 * (layer > 0) + 5 * (layer == last) for layer in range(last + 1)}
    assert n_rows == {**expected, "output matrix of the last attention": 43}
    for layer in (0, 1, last):
        own = [index for index, other in enumerate(layers) if other == layer]
        alone = engine.injected(clean, [layer] * len(own), prompts[own], vectors[own])
        torch.testing.assert_close(together[own], alone, rtol=1e-5, atol=1e-5)


def test_a_magnitude_that_overflows_is_refused(tiny_models: dict[str, Path], pairs: pd.DataFrame) -> None:
    model = Model(tiny_models["llama"])
    cells = list_cells(pairs, [1], [1.0, 1e39], ["unembed"])
    with pytest.raises(OverflowingInjectionError, match=r"^magnitude 1e\+39 at layer 1 overflows") as error:
        list(model.computer.compute(cells, tokenise_pairs(pairs, model.tokenizer)))
    assert (error.value.layer, error.value.magnitude) == (1, 1e39)
    assert describe_error(error.value).startswith("config key injection.magnitudes: magnitude 1e+39 at layer 1 ")


def test_an_exception_leaves_no_hook_behind(model: Model) -> None:
    engine = model.engine
    tokens, lengths = pad([[1, 2, 3], [4, 5, 6]], CPU[0])
    clean = engine.clean(tokens, lengths)
    with pytest.raises(RuntimeError):
        engine.injected(clean, [1, 1], torch.tensor([0, 1]), torch.zeros(2, 7))
    with pytest.raises(IndexError):
        engine.injected(clean, [1, 1], torch.tensor([0, 9]), torch.zeros(2, 7))
    with pytest.raises(IndexError):
        engine.clean(tokens, torch.tensor([99, 99]))
    for module in engine.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)
    torch.testing.assert_close(engine.clean(tokens, lengths).logits, clean.logits)


def test_layer_encoding_is_the_attention_output_at_the_memorys_last_token(model: Model) -> None:
    layers = [0, 1, model.engine.n_layers - 1]
    vectors = model.computer.encoder.encode([("layer", "Peru"), ("layer", "Machu Picchu"), ("embed", "Peru")], layers)
    for layer in layers:
        expected = model.slow_vector("layer", "Machu Picchu", layer)
        found = vectors.vectors[vectors.find_rows(np.array([1]), np.array([layer]))[0]]
        if str(model.bridge.cfg.normalization_type).startswith("LN"):  # the bridge centres it, which has no effect
            found = found - found.mean()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_is_near_float32(name: str, tiny_models: dict[str, Path], pairs: pd.DataFrame) -> None:
    model = Model(tiny_models[name])
    half = model.build_computer(SkippingEngine(load_causal_lm(tiny_models[name], CPU, "bfloat16")))
    prompts = tokenise_pairs(pairs, model.tokenizer)
    scale = 1 / model.slow_vector("unembed", pairs["memory"].iloc[0], 0).norm().item()
    cells = list_cells(pairs, [1, model.engine.n_layers - 1], [scale, 3 * scale], ["unembed"])
    exact, rough = (pd.concat(computer.compute(cells, prompts)).sort_index() for computer in (model.computer, half))
    difference = (exact["logp_injected"] - rough["logp_injected"]).abs()
    assert 1e-6 < difference.max() < 0.3
    assert difference.median() < 0.1


class OneAtATime(SkippingEngine):
    """An engine that runs out of memory with more than three cells or two prompts."""

    def clean(self, tokens, lengths, layers=None, n_read=None, past=None):  # type: ignore[no-untyped-def]
        self._allocate(len(tokens), 2)
        return super().clean(tokens, lengths, layers, n_read, past)

    def injected(self, clean, layers, prompts, vectors, where=None):  # type: ignore[no-untyped-def]
        self._allocate(len(prompts), 3)
        return super().injected(clean, layers, prompts, vectors, where)

    def _allocate(self, rows: int, limit: int) -> None:
        if rows > limit:
            raise torch.OutOfMemoryError("out of memory")


def test_out_of_memory_halves_the_batch_and_says_so(
    tiny_models: dict[str, Path], pairs: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(tiny_models["gpt2"])
    prompts = tokenise_pairs(pairs, model.tokenizer)
    cells = list_cells(pairs, [0, 1], [1.0, 2.0, 3.0, 4.0], ["unembed"])
    small = model.build_computer(OneAtATime(model.engine.model))
    found = pd.concat(small.compute(cells, prompts)).sort_index()
    expected = pd.concat(model.computer.compute(cells, prompts)).sort_index()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert "out of memory with" in caplog.text
    assert "going on with" in caplog.text


def test_a_cell_that_never_fits_is_one_clear_sentence(tiny_models: dict[str, Path], pairs: pd.DataFrame) -> None:
    class Full(OneAtATime):
        def _allocate(self, rows: int, limit: int) -> None:
            raise torch.OutOfMemoryError("out of memory")

    model = Model(tiny_models["gpt2"])
    computer = model.build_computer(Full(model.engine.model))
    with pytest.raises(StudyError, match=r"a single prompt of .* tokens does not fit into the memory of cpu"):
        list(computer.compute(list_cells(pairs, [0], [1.0], ["unembed"]), tokenise_pairs(pairs, model.tokenizer)))


@pytest.fixture
def spread_llama(tiny_models: dict[str, Path], tmp_path: Path) -> SkippingEngine:
    """A model with a device map: its first blocks are on disk and are loaded when they run."""
    model = load_causal_lm(tiny_models["llama"], CPU)
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    places |= {"model.layers.0": "disk", "model.layers.1": "disk", "model.layers.2": "cpu"}
    return SkippingEngine(accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path))


def test_a_model_under_a_device_map(
    spread_llama: SkippingEngine, tiny_models: dict[str, Path], pairs: pd.DataFrame
) -> None:
    model = Model(tiny_models["llama"])
    prompts = tokenise_pairs(pairs, model.tokenizer)
    cells = list_cells(pairs, [0, 1, 2], [1.0, 2.0], ["unembed"])
    forwards = [vars(block).get("forward") for block in spread_llama.components.blocks]
    assert any(forwards)
    found = pd.concat(model.build_computer(spread_llama).compute(cells, prompts)).sort_index()
    expected = pd.concat(model.computer.compute(cells, prompts)).sort_index()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert [vars(block).get("forward") for block in spread_llama.components.blocks] == forwards
