"""The forms in which an `Injector` needs a model, whoever loaded it."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.injection.validation import Positions
from memory_injections.models.lens import Lens


class ModelForms(Protocol):
    """A model for injections: `pretrained.Pretrained` by name, or `hooks.HookedModel` around a user's own."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""

    @property
    def n_layers(self) -> int:
        """Number of blocks."""

    @property
    def n_ctx(self) -> int | None:
        """The longest prompt, in tokens; None if there is no limit."""

    @property
    def engine(self) -> InjectionEngine:
        """Clean passes and injections at every position."""

    @property
    def lens(self) -> Lens:
        """The processed weights between residual stream and vocabulary."""

    def processed(self) -> TransformerBridge:
        """The model with processed weights, to read its heads."""

    def hooked(self, positions: Positions | None, head: int | None) -> InjectionEngine:
        """An engine that injects at some positions, or through one head."""

    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> AbstractContextManager[None]:
        """Within the block, every pass has these vectors added to a layer's attention output, one to each row."""

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Logits of the next token behind `tokens`, which follow what is in the cache, and the cache with them."""
