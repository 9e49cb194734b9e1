"""The check at load passes what is one function, and says in one sentence which form of a model is another one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from memory_injections.errors import UnsupportedArchitectureError
from memory_injections.injection import load_check
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.load_check import load_checked_bridge
from memory_injections.injection.skipping_engine import SkippingEngine, _JoiningCells
from memory_injections.models.processed_weights import ProcessedWeights
from slow_path import CPU

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def llama(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["llama"]


def test_forms_that_agree_pass(tiny_models: dict[str, Path]) -> None:
    for folder in tiny_models.values():
        bridge, differences = load_checked_bridge(folder, CPU[0])
        assert bridge.cfg.n_layers == len(ProcessedWeights.of(bridge).W_O)
        assert list(differences) == ["engine", "engine, injected", "bridge", "bridge, injected", "heads"]
        assert max(differences.values()) < 1e-4


def refuse(folder: Path, sentence: str) -> None:
    with pytest.raises(UnsupportedArchitectureError, match=sentence) as error:
        load_checked_bridge(folder, CPU[0])
    assert str(error.value).startswith("architecture LlamaForCausalLM is not supported because ")


@contextlib.contextmanager
def changed(method: str, of: type, change: object) -> Iterator[None]:
    """Within the block, a method's result is changed."""
    with pytest.MonkeyPatch.context() as patch:
        original = getattr(of, method)
        patch.setattr(of, method, lambda self, *args: change(original(self, *args)))  # type: ignore[operator]
        yield


def test_an_engine_that_computes_something_else_is_found(llama: Path) -> None:
    with changed("_compute_logits", SkippingEngine, lambda logits: 1.01 * logits):
        refuse(llama, r"the fast engine and Hugging Face's forward pass differ by [\d.]+ nats without an injection")


def test_an_injection_at_another_place_is_found(llama: Path) -> None:
    with changed("inject", _JoiningCells, lambda attn_out: 1.1 * attn_out):
        refuse(llama, r"the fast engine and .* differ by [\d.]+ nats with an injection in layer \d")


def test_processed_weights_of_another_function_are_found(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_spoilt(*args: object) -> object:
        bridge = load_bridge(*args)  # type: ignore[arg-type]
        bridge.blocks[1].mlp.register_forward_hook(lambda module, args, output: 1.1 * output)
        return bridge

    load_bridge = load_check.load_bridge
    monkeypatch.setattr(load_check, "load_bridge", load_spoilt)
    refuse(llama, r"TransformerLens with processed weights and Hugging Face's .* nats without an injection")


def test_hooks_at_another_place_are_found(llama: Path) -> None:
    with changed("injected", HookedEngine, lambda logits: logits.roll(1, 0)):
        refuse(llama, r"TransformerLens with processed weights and .* with an injection in layer \d")


def test_heads_that_do_not_add_up_are_found(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_check, "compute_attention_output", lambda processed, z: torch.zeros(1))
    refuse(llama, r"its attention heads miss what attention adds to the residual stream by 100%")


def test_a_form_that_fails_is_one_sentence(llama: Path) -> None:
    def fail(result: object) -> None:
        raise RuntimeError("shapes\ndo not fit.")

    with changed("clean", SkippingEngine, fail):
        refuse(llama, r"the fast engine fails: shapes do not fit; use another model$")


def test_a_lack_of_memory_is_no_fault_of_the_architecture(llama: Path) -> None:
    def fail(result: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with changed("clean", SkippingEngine, fail), pytest.raises(torch.OutOfMemoryError):
        load_checked_bridge(llama, CPU[0])
