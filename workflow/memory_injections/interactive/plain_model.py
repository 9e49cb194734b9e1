"""A plain Hugging Face model on the fast engine, as an `Injector` needs it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from memory_injections.errors import StudyError
from memory_injections.injection.hooked_engine import HookedEngine
from memory_injections.injection.load_check import copy_checked_bridge
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.skipping_engine import SkippingEngine, add_to_first
from memory_injections.injection.validation import Positions
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.processed_weights import ProcessedWeights

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class PlainModel:
    """A loaded model on the fast engine, left as it is (an `InjectableModel`).

    `load_bridge` loads the same model in TransformerLens, its weights processed; it is called when that is first used.
    """

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
        if model.device.type not in CELL_TOKENS:
            raise StudyError(f"the model is on {model.device}; move it to one of {', '.join(CELL_TOKENS)}")
        bridge = copy_checked_bridge(model, tokenizer)
        loaded = LoadedModel(SkippingEngine(model, min_rows=1), tokenizer, ProcessedWeights.of(bridge))
        return cls(loaded, lambda: bridge)

    @cached_property
    def bridge(self) -> "TransformerBridge":
        """The model in TransformerLens, its weights processed."""
        return self._load_bridge()

    def process_weights(self) -> "TransformerBridge":
        """Return the model with processed weights."""
        return self.bridge

    def build_engine(self, positions: Positions | None, head: int | None) -> HookedEngine:
        """Return an engine that injects at some positions, or through one head."""
        return HookedEngine(self.bridge, positions, head)

    @contextmanager
    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> Iterator[None]:
        """Within the block, add these vectors, one for each row, to the layer's attention output at every position."""
        parts = self.engine.components

        def add(_: nn.Module, __: Any, output: Any) -> Any:
            return add_to_first(output, vectors[:, None] / parts.attn_scale)

        handle = parts.attn_out[layer].register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Return the next token's logits in float32, and the cache with `tokens` added."""
        output = self.engine.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float(), output.past_key_values
