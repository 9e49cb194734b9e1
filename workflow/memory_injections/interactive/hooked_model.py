"""A user's own model, loaded by TransformerLens, as an `Injector` needs it."""

import copy
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.errors import StudyError
from memory_injections.injection.hooked_engine import HookedEngine, injecting
from memory_injections.injection.validation import Positions
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.processed_weights import ProcessedWeights

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class HookedModel:
    """A `TransformerBridge`, left as it is, with injections through its hooks (an `InjectableModel`).

    Raises `StudyError` for a bridge without a tokenizer, or on a device other than a CPU or a CUDA GPU.
    """

    def __init__(self, bridge: "TransformerBridge") -> None:
        if bridge.tokenizer is None:
            raise StudyError("the TransformerBridge has no tokenizer; set its `tokenizer`")
        self.engine = HookedEngine(bridge)
        if self.engine.device.type not in CELL_TOKENS:
            raise StudyError(
                f"the TransformerBridge is on {self.engine.device}; move it to one of {', '.join(CELL_TOKENS)}"
            )
        self.bridge = bridge
        self.tokenizer: PreTrainedTokenizerBase = bridge.tokenizer

    @cached_property
    def processed(self) -> ProcessedWeights:
        """The processed weights between residual stream and vocabulary."""
        return ProcessedWeights.of(self.process_weights())

    def process_weights(self) -> "TransformerBridge":
        """Return the bridge if its weights are processed, or else a copy in float32 with processed weights."""
        # TransformerLens has no public name for it: a bridge may be in compatibility mode without processed weights.
        if self.bridge._weights_processed:
            return self.bridge
        processed = copy.deepcopy(self.bridge)
        if processed.W_E.dtype != torch.float32:  # `to` takes seconds even if there is nothing to do
            processed.to(torch.float32, print_details=False)
        processed.enable_compatibility_mode(disable_warnings=True)
        return processed

    def build_engine(self, positions: Positions | None, head: int | None) -> HookedEngine:
        """Return an engine that injects at some positions, or through one head."""
        return HookedEngine(self.bridge, positions, head)

    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> AbstractContextManager[None]:
        """Within the block, add these vectors, one for each row, to the layer's attention output at every position."""
        return injecting(self.bridge, vectors[:, None], layer)

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Return the next token's logits in float32, and the cache with `tokens` added."""
        logits, cache = self.bridge(tokens, return_type="logits_and_cache", past_key_values=cache, use_cache=True)
        return logits[:, -1].float(), cache
