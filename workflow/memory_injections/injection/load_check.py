"""Checking once per model that its three forms are one function, before anything is computed with it.

Cells come from the fast engine, activations and heads from TransformerLens' bridge with processed weights. Both must
say what Hugging Face's own forward pass says, without an injection and with one in the first, a middle and the last
layer, and the bridge's heads must add up to what its attention adds to the residual stream.
"""

import copy
import gc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from memory_injections.errors import UnsupportedArchitectureError
from memory_injections.injection.engine import CleanPass
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.skipping_engine import SkippingEngine, add_to_first
from memory_injections.models.loading import load_bridge, load_causal_lm, stack_blocks, translating_failures
from memory_injections.models.processed_weights import ProcessedWeights, compute_attention_output
from memory_injections.models.tokenisation import load_tokenizer, pad, tokenise_prompt

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Of several lengths: the engine pads them into one batch.
TEXTS = ("The", "George Washington fought in the", "The largest city of the country with the tallest mountain is")
# Nats between log-probabilities in float32, and shares of an attention output. What rounding does to real models stays
# far below both; a form that is another function was never seen below 0.03 nats.
LOG_PROB_TOLERANCE, HEAD_TOLERANCE = 1e-3, 1e-3
ENGINE, HUGGING_FACE, BRIDGE = (
    "the fast engine",
    "Hugging Face's forward pass",
    "TransformerLens with processed weights",
)


@dataclass(frozen=True)
class Expectation:
    """What a model says to the check's texts, and with a vector added in some layers of the last text.

    `differences` are the largest ones found so far between the model's forms, by what was compared.
    """

    architecture: str
    tokens: Int[Tensor, "text pos"]
    lengths: Int[Tensor, " text"]
    layers: Sequence[int]
    vectors: Float[Tensor, "layer d_model"]
    clean: Float[Tensor, "text vocab"]
    injected: Float[Tensor, "layer vocab"]
    differences: Mapping[str, float]


def load_checked_bridge(
    folder: Path, device: torch.device, engine: SkippingEngine | None = None
) -> tuple["TransformerBridge", Mapping[str, float]]:
    """Load a model's processed bridge, checked against its other forms; return it with the differences found.

    Without an `engine` at hand, one form is in memory at a time. Raises `UnsupportedArchitectureError` if the forms
    disagree, or one does not work.
    """
    model = load_causal_lm(folder, [device]) if engine is None else engine.model
    architecture = type(model).__name__
    with _refusing_failures(architecture, ENGINE):
        expected = expect(engine or SkippingEngine(model), load_tokenizer(folder))
    del model
    gc.collect()
    with _refusing_failures(architecture, BRIDGE):
        bridge = load_bridge(folder, [device])
        return bridge, check_bridge(bridge, expected)


def copy_checked_bridge(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> "TransformerBridge":
    """Return a copy of a loaded model as processed bridge, in float32, checked as `load_checked_bridge` does.

    The model and its tokenizer stay as they are.
    """
    from transformer_lens.model_bridge import TransformerBridge

    architecture, model = type(model).__name__, copy.deepcopy(model).float()
    with _refusing_failures(architecture, ENGINE):
        expected = expect(SkippingEngine(model), tokenizer)
    with _refusing_failures(architecture, BRIDGE):
        tokenizer = copy.deepcopy(tokenizer)  # TransformerLens sets it up in its way
        bridge = TransformerBridge.boot_transformers(model.name_or_path, hf_model=model, tokenizer=tokenizer)
        bridge.enable_compatibility_mode(disable_warnings=True)
        check_bridge(bridge, expected)
        return bridge.eval()


def _refusing_failures(architecture: str, form: str) -> AbstractContextManager[None]:
    """Turn any failure of a form into the sentence that refuses the model, except for a lack of memory."""
    return translating_failures(
        lambda _, message: UnsupportedArchitectureError(architecture, f"{form} fails: {message}")
    )


@torch.inference_mode()
def expect(engine: SkippingEngine, tokenizer: PreTrainedTokenizerBase) -> Expectation:
    """Run the check's texts through Hugging Face's forward pass, and compare the fast engine with it."""
    architecture = type(engine.model).__name__
    rows = [tokenise_prompt(tokenizer, text) for text in TEXTS]
    layers = sorted({0, engine.n_layers // 2, engine.n_layers - 1})
    tokens, lengths = pad(rows, engine.device, 2)
    clean = engine.clean(tokens, lengths)
    vectors = _draw_vectors(clean, layers, len(rows[-1]) - 1)
    last = torch.full([len(layers)], len(rows) - 1, device=engine.device)
    injected = engine.injected(clean, layers, last, vectors).log_softmax(dim=1)
    expected_clean = torch.stack([_run_alone(engine, row) for row in rows])
    expected_injected = torch.stack(
        [_run_alone(engine, rows[-1], layer, vector) for layer, vector in zip(layers, vectors, strict=True)]
    )
    differences = {
        "engine": _compare(architecture, ENGINE, clean.logits.log_softmax(dim=1), expected_clean),
        "engine, injected": _compare(architecture, ENGINE, injected, expected_injected, layers),
    }
    return Expectation(architecture, tokens, lengths, layers, vectors, expected_clean, expected_injected, differences)


def _draw_vectors(clean: CleanPass, layers: Sequence[int], position: int) -> Float[Tensor, "layer d_model"]:
    """Draw a vector for each layer, as long as the residual stream of the last text is there."""
    streams = stack_blocks((clean.resid_pre[layer][-1, position] for layer in layers), clean.logits.device)
    draws = torch.randn(streams.shape, generator=torch.Generator().manual_seed(0)).to(streams.device)
    return draws / draws.norm(dim=1, keepdim=True) * streams.norm(dim=1, keepdim=True)


def _run_alone(
    engine: SkippingEngine, row: Sequence[int], layer: int | None = None, vector: Tensor | None = None
) -> Float[Tensor, " vocab"]:
    """Return the next token's log-probabilities from a full pass of one text; a plain hook adds the vector."""
    parts = engine.components

    with ExitStack() as stack:
        if layer is not None and vector is not None:
            added = vector / parts.attn_scale
            hook = parts.attn_out[layer].register_forward_hook(lambda _, __, output: add_to_first(output, added))
            stack.callback(hook.remove)
        logits = engine.model(input_ids=torch.tensor([row], device=engine.device), use_cache=False).logits
    return logits[0, -1].float().log_softmax(dim=0)


@torch.inference_mode()
def check_bridge(bridge: "TransformerBridge", expected: Expectation) -> Mapping[str, float]:
    """Compare a bridge with processed weights, its hooks and its heads; return all differences of the model's forms."""
    engine = HookedEngine(bridge)
    clean = engine.clean(expected.tokens, expected.lengths)
    last = torch.full([len(expected.layers)], len(TEXTS) - 1, device=engine.device)
    injected = engine.injected(clean, expected.layers, last, expected.vectors).log_softmax(dim=1)
    name = expected.architecture
    return {
        **expected.differences,
        "bridge": _compare(name, BRIDGE, clean.logits.log_softmax(dim=1), expected.clean),
        "bridge, injected": _compare(name, BRIDGE, injected, expected.injected, expected.layers),
        "heads": _compare_heads(name, bridge, expected.tokens[-1:, : expected.lengths[-1]]),
    }


def _compare(
    architecture: str,
    form: str,
    found: Float[Tensor, "row vocab"],
    expected: Float[Tensor, "row vocab"],
    layers: Sequence[int] | None = None,
) -> float:
    """Return the largest difference; raise `UnsupportedArchitectureError` if it is too large for rounding."""
    by_row = (found - expected.to(found.device)).abs().amax(dim=1).nan_to_num(nan=torch.inf)
    worst = int(by_row.argmax())
    difference = by_row[worst].item()
    if difference > LOG_PROB_TOLERANCE:
        where = "without an injection" if layers is None else f"with an injection in layer {layers[worst]}"
        raise UnsupportedArchitectureError(
            architecture, f"{form} and {HUGGING_FACE} differ by {difference:.2g} nats {where}"
        )
    return difference


def _compare_heads(architecture: str, bridge: "TransformerBridge", tokens: Int[Tensor, "1 pos"]) -> float:
    """Return by what share of an attention output the heads miss it; refuse the model if by much."""
    processed, layers = ProcessedWeights.of(bridge), range(bridge.cfg.n_layers)
    _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith(("attn.hook_z", "hook_attn_out")))
    z, attn_out = (
        stack_blocks((cache[f"blocks.{layer}.{hook}"][0] for layer in layers), tokens.device, dim=1)
        for hook in ("attn.hook_z", "hook_attn_out")
    )
    missed = (compute_attention_output(processed, z) - attn_out).norm(dim=-1).amax(dim=0)
    share = (missed / attn_out.norm(dim=-1).amax(dim=0)).nan_to_num(nan=torch.inf).max().item()
    if share > HEAD_TOLERANCE:
        raise UnsupportedArchitectureError(
            architecture, f"its attention heads miss what attention adds to the residual stream by {share:.0%}"
        )
    return share
