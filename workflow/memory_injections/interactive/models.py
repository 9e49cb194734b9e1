"""A model as an `Injector` needs it, whoever has loaded it: on the fast engine, or in TransformerLens."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from memory_injections.errors import StudyError
from memory_injections.injection.engine import InjectionEngine
from memory_injections.injection.hooked_engine import HookedEngine, injecting
from memory_injections.injection.load_check import copy_checked_bridge
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.skipping_engine import SkippingEngine, add_to_first
from memory_injections.injection.validation import Positions, check_overflow
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.processed_weights import ProcessedWeights

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class InjectableModel(ABC):
    """A model to inject memories into; `engine` injects at every position."""

    engine: InjectionEngine
    tokenizer: PreTrainedTokenizerBase
    _load_bridge: Callable[[], "TransformerBridge"]

    @cached_property
    def bridge(self) -> "TransformerBridge":
        """The model in TransformerLens."""
        return self._load_bridge()

    @cached_property
    def processed(self) -> ProcessedWeights:
        """The processed weights between residual stream and vocabulary."""
        return ProcessedWeights.of(self.process_weights())

    @abstractmethod
    def process_weights(self) -> "TransformerBridge":
        """Return the model in TransformerLens with processed weights, in which heads are read."""

    @abstractmethod
    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> AbstractContextManager[None]:
        """Within the block, add these vectors, one for each row, to the layer's attention output at every position."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Return the next token's logits in float32, and the cache with `tokens` added.

        `tokens` continue the text in the cache, which is None at first.
        """

    def build_engine(self, positions: Positions | None, head: int | None) -> HookedEngine:
        """Return an engine that injects at some positions, or through one head (see `hooked_engine.injecting`)."""
        return HookedEngine(self.bridge, positions, head)

    @torch.no_grad()
    def continue_prompt(
        self,
        prompt: Sequence[int],
        vectors: Float[Tensor, "injection d_model"],
        layer: int,
        magnitude: float,
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[str]:
        """Continue a prompt's tokens without an injection and with each vector, as rows of one batch.

        `magnitude` times the vector is added to the layer's attention output at every position, those of new tokens
        included. Returns the continuation without an injection first. Each ends before its first EOS token, or after
        `max_new_tokens`. Raises `OverflowingInjectionError` if an injection overflows the model's arithmetic.
        """
        added = torch.cat([torch.zeros_like(vectors[:1]), magnitude * vectors])
        generator = torch.Generator().manual_seed(seed)
        tokens, cache = torch.tensor([prompt] * len(added), device=vectors.device), None
        eos = self.tokenizer.eos_token_id
        new: list[list[int]] = [[] for _ in added]
        with self.injecting(layer, added):
            for _ in range(max_new_tokens):
                logits, cache = self.step(tokens, cache)
                check_overflow(logits, layer, magnitude)
                tokens = _draw_tokens(logits.cpu(), temperature, generator)[:, None].to(tokens.device)
                for row, token in zip(new, tokens[:, 0].tolist(), strict=True):
                    row.append(token)
                if all(eos in row for row in new):
                    break
        ends = (row.index(eos) if eos in row else len(row) for row in new)
        return [str(self.tokenizer.decode(row[:end])) for row, end in zip(new, ends, strict=True)]


def _draw_tokens(
    logits: Float[Tensor, "batch vocab"], temperature: float, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Draw each row's next token, all rows with the same noise; at temperature 0 take the most probable one."""
    if temperature > 0:
        gumbel = -torch.empty(logits.shape[1]).exponential_(generator=generator).log()
        logits = logits / temperature + gumbel
    return logits.argmax(dim=1)


class PlainModel(InjectableModel):
    """A plain Hugging Face model on the fast engine, left as it is.

    `load_bridge` loads the same model in TransformerLens, its weights processed; it is called when that is first used.
    """

    engine: SkippingEngine

    def __init__(self, loaded: LoadedModel, load_bridge: Callable[[], "TransformerBridge"]) -> None:
        self.engine, self.tokenizer, self.processed = loaded.engine, loaded.tokenizer, loaded.processed
        self._load_bridge = load_bridge

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> "PlainModel":
        """Take a model that a user has loaded, with its tokenizer.

        Raises `StudyError` without a tokenizer, and for a model in training mode or on a device other than a CPU or a
        CUDA GPU.
        """
        if tokenizer is None:
            raise StudyError("the model has no tokenizer; give it as second argument")
        if model.training:
            raise StudyError("the model is in training mode, where dropout changes what it says; call its `eval()`")
        _check_device("model", model.device)
        bridge = copy_checked_bridge(model, tokenizer)
        loaded = LoadedModel(SkippingEngine(model, min_rows=1), tokenizer, ProcessedWeights.of(bridge))
        return cls(loaded, lambda: bridge)

    def process_weights(self) -> "TransformerBridge":
        return self.bridge

    @contextmanager
    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> Iterator[None]:
        parts = self.engine.components

        def add(_: nn.Module, __: Any, output: Any) -> Any:
            return add_to_first(output, vectors[:, None] / parts.attn_scale)

        handle = parts.attn_out[layer].register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        output = self.engine.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float(), output.past_key_values


class HookedModel(InjectableModel):
    """A user's own `TransformerBridge`, left as it is, with injections through its hooks.

    Raises `StudyError` for a bridge without a tokenizer, or on a device other than a CPU or a CUDA GPU.
    """

    def __init__(self, bridge: "TransformerBridge") -> None:
        if bridge.tokenizer is None:
            raise StudyError("the TransformerBridge has no tokenizer; set its `tokenizer`")
        self.engine, self.tokenizer, self._load_bridge = HookedEngine(bridge), bridge.tokenizer, lambda: bridge
        _check_device("TransformerBridge", self.engine.device)

    def process_weights(self) -> "TransformerBridge":
        # TransformerLens has no public name for it: a bridge may be in compatibility mode without processed weights.
        if self.bridge._weights_processed:
            return self.bridge
        processed = copy.deepcopy(self.bridge)
        if processed.W_E.dtype != torch.float32:  # `to` takes seconds even if there is nothing to do
            processed.to(torch.float32, print_details=False)
        processed.enable_compatibility_mode(disable_warnings=True)
        return processed

    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> AbstractContextManager[None]:
        return injecting(self.bridge, vectors[:, None], layer)

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        logits, cache = self.bridge(tokens, return_type="logits_and_cache", past_key_values=cache, use_cache=True)
        return logits[:, -1].float(), cache


def _check_device(what: str, device: torch.device) -> None:
    if device.type not in CELL_TOKENS:
        raise StudyError(f"the {what} is on {device}; move it to one of {', '.join(CELL_TOKENS)}")
