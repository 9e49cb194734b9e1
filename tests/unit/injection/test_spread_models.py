"""A model whose blocks are on several devices gives the numbers that it gives on one.

There is one device here: the others are made up (`separate_devices`). `test_gpu.py` has the same on real GPUs.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from architectures import OTHERS, QUICK, Family
from memory_injections import Injector
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from memory_injections.activations.recording import record_activations
from memory_injections.controls.kinds import CONTROLS
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.injection.load_check import check_bridge, expect
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.interactive.comparisons import inject_controls
from memory_injections.interactive.models import PlainModel
from memory_injections.mechanisms.measurements import Injections
from memory_injections.mechanisms.residuals import read_out, trace_injections
from memory_injections.mechanisms.settings import InjectionSite, Mechanisms
from memory_injections.models import limits
from memory_injections.models.loading import load_causal_lm
from memory_injections.models.processed_weights import ProcessedWeights
from memory_injections.models.tokenisation import load_tokenizer, pad
from memory_injections.playground.questions import Question
from memory_injections.playground.sites import sweep_layers
from separate_devices import CPU, DEVICES, SeparateDevices, spread_model
from slow_path import list_cells, tokenise_pairs
from tiny_models import CONFIGS
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

pytestmark = pytest.mark.usefixtures("one_thread")
each_family = pytest.mark.parametrize(
    "family", [*QUICK.values(), *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS.values())],
    ids=[*QUICK, *OTHERS],
)  # fmt: skip
SITE = InjectionSite("layer", False, 1, 0.5)
PROMPT = "The author of Das Kapital is buried in the great city of"


@pytest.fixture(autouse=True)
def known_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as much at once on a made-up device as on the CPU."""
    for name in ("CELL_TOKENS", "LAST_POSITION_CELLS", "CELL_PADDING"):
        table = getattr(limits, name)
        monkeypatch.setitem(table, DEVICES[0].type, table["cpu"])


@dataclass(frozen=True)
class Parts:
    """A model in its two forms, on one device or on several."""

    model: LoadedModel
    bridge: TransformerBridge


def load_parts(folder: Path, place: Callable[[PreTrainedModel], PreTrainedModel], device: torch.device) -> Parts:
    """Load a model's two forms, and put their blocks where `place` does."""
    engine = SkippingEngine(place(load_causal_lm(folder, [CPU])))
    bridge = TransformerBridge.boot_transformers(str(folder), hf_model=place(load_causal_lm(folder, [CPU])))
    bridge.cfg.device = str(device)  # which is a GPU, wherever there is one
    bridge.enable_compatibility_mode(disable_warnings=True)
    processed = ProcessedWeights.of(bridge)
    tensors = {field.name: getattr(processed, field.name) for field in fields(processed)}
    moved: dict[str, Any] = {name: tensor if tensor is None else tensor.to(device) for name, tensor in tensors.items()}
    return Parts(LoadedModel(engine, load_tokenizer(folder), ProcessedWeights(**moved)), bridge)


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    return tiny_models[request.param]


@pytest.fixture
def both(folder: Path) -> tuple[Parts, Parts]:
    """A model on one device and on two."""
    whole = load_parts(folder, lambda model: model, CPU)
    with SeparateDevices():
        return whole, load_parts(folder, spread_model, DEVICES[0])


def compare(both: tuple[Parts, Parts], measure: Callable[[Parts], Any]) -> None:
    """Compare what is measured of a model on one device and on two."""
    whole, spread = both
    expected = measure(whole)
    with SeparateDevices():
        found = measure(spread)
    for name, values in expected.items():
        if isinstance(values, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], values, rtol=1e-4, atol=1e-6)
        elif isinstance(values, Tensor):
            torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-5)
        else:
            assert found[name] == values, name


def test_the_blocks_are_on_two_devices(both: tuple[Parts, Parts]) -> None:
    engine, bridge = both[1].model.engine, both[1].bridge
    with SeparateDevices():
        for model in (engine.model, bridge):
            assert {weights.device for weights in model.parameters()} == set(DEVICES)
        assert engine.device == DEVICES[0]  # the process's own, where its events are
        mixed = [torch.ones(1, device=device) for device in DEVICES]
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            torch.stack(mixed)


def test_cells(both: tuple[Parts, Parts], pairs: pd.DataFrame) -> None:
    """Every encoding, with doses relative to the residual stream and without, and the vectors of every control."""

    def measure(parts: Parts) -> dict[str, pd.DataFrame]:
        prompts, layers = tokenise_pairs(pairs, parts.model.tokenizer), list(range(parts.model.engine.n_layers))
        encoder, relative = parts.model.build_encoder(), parts.model.build_encoder(is_relative=True)
        own = list_cells(pairs, layers, [0.1, 0.2], list(ENCODINGS))
        kinds = ["curated", *(name for name, control in CONTROLS.items() if control.build)]
        controls = pd.concat(own.head(40).assign(control=control) for control in kinds)
        controls["memory"] = [
            VectorSpec(control, memory, 0, 3, source="tree", answer=7, seed=1).key
            for control, memory in zip(controls["control"], controls["memory"], strict=True)
        ]
        controls = controls.assign(start=0, stop=3).reset_index(drop=True)
        texts = list_texts(PlannedPrompts.of_pairs(pairs, parts.model.tokenizer, None))
        return {
            "own": pd.concat(CellComputer(parts.model.engine, encoder).compute(own, prompts)),
            "relative": pd.concat(CellComputer(parts.model.engine, relative).compute(own, prompts)),
            "controls": pd.concat(CellComputer(parts.model.engine, ControlEncoder(encoder)).compute(controls, prompts)),
            "texts": score_texts(texts, parts.model.engine, parts.model.tokenizer),
        }

    compare(both, measure)


def test_activations_and_mechanisms(both: tuple[Parts, Parts], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """What is recorded, and what patching, direct effects, the logit lens and side effects make of it."""
    pairs = pairs.head(4)

    def measure(parts: Parts) -> dict[str, Any]:
        recorded = record_activations(parts.bridge, parts.model.tokenizer, pairs, bos=True)
        with ActivationCacheWriter(tmp_path / "cache", len(pairs), {"model": "tiny", "dataset": "own"}) as writer:
            writer.write(recorded)
        cache = ActivationCache(tmp_path / "cache")
        settings = Mechanisms(prompts=1, others=1, texts=2, factors=(1.0,))
        made = Injections(parts.model, cache, pairs, settings, 0)
        cells = pairs[["prompt_id"]].assign(encoding=SITE.encoding, layer=SITE.layer, magnitude=SITE.magnitude)
        return {
            **recorded,
            "patching": made.patch_heads(0),
            "direct": made.split_effects(SITE, cells),
            "later blocks": made.read_later_blocks(SITE),
            "side effects": made.find_side_effects(SITE),
            "text": made.read_text(SITE, " ".join(pairs["explicit_prompt"])),
        }

    compare(both, measure)


def test_the_check_of_a_models_forms(both: tuple[Parts, Parts]) -> None:
    def measure(parts: Parts) -> dict[str, Tensor]:
        expected = expect(parts.model.engine, parts.model.tokenizer)
        check_bridge(parts.bridge, expected)
        return {"clean": expected.clean.to(CPU), "injected": expected.injected.to(CPU)}

    compare(both, measure)


@pytest.mark.parametrize("hooks", [False, True])
def test_one_prompt(both: tuple[Parts, Parts], hooks: bool) -> None:
    """The Python API and the playground, on the fast engine and through TransformerLens' hooks."""
    question = Question(PROMPT, "Karl Marx", "London", "Charles Darwin", "tiny")

    def measure(parts: Parts) -> dict[str, Any]:
        injector = Injector.of(parts.bridge) if hooks else Injector(PlainModel(parts.model, lambda: parts.bridge))
        asked = (PROMPT, "Karl Marx")
        site: dict[str, Any] = {"layer": 1, "magnitude": 0.2}
        return {
            "everywhere": injector.inject(*asked, **site, encoding="layer", answer="London").table,
            "at the end": injector.inject(*asked, **site, positions=[-1]).table,
            "through a head": injector.inject(*asked, **site, head=1).table,
            "sweep": injector.sweep(*asked, magnitudes=[0.1, 0.2]).table,
            "heads": injector.heads(PROMPT, top_k=3, answer="London"),
            "controls": inject_controls(
                injector, *asked, answer="London", **site, others=["Isaac Newton"], words=["tree"]
            ),
            "map": pd.concat(sweep_layers(injector, question)),
            "text": injector.generate(*asked, **site),
        }

    compare(both, measure)


@each_family
def test_every_family(family: Family) -> None:
    """Injections into every layer, and the residual stream behind the later ones."""
    rows, generator = [[5, 7], [9, 4, 3, 2, 8], [6, 5, 4, 3, 2, 1]], torch.Generator().manual_seed(1)
    model = family.build()
    whole = SkippingEngine(copy.deepcopy(model))
    layers = [layer for layer in range(whole.n_layers) for _ in rows]
    vectors = torch.randn(len(layers), 32, generator=generator)

    def run(engine: SkippingEngine) -> list[Tensor]:
        prompts = (torch.arange(len(layers)) % len(rows)).to(engine.device)
        clean = engine.clean(*pad(rows, engine.device))
        traced, logits = trace_injections(engine, clean, 0, prompts[:3], vectors[:3].to(engine.device))
        injected = engine.injected(clean, layers, prompts, vectors.to(engine.device))
        return [
            values.to(CPU)
            for values in (clean.stack_last_attn_out(), injected, traced, logits, read_out(engine, traced[-1]))
        ]

    expected = run(whole)
    with SeparateDevices():
        found = run(SkippingEngine(spread_model(model)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
