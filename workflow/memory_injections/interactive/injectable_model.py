"""What an `Injector` needs of a model, whoever has loaded it."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.engine import InjectionEngine
from memory_injections.injection.validation import Positions
from memory_injections.models.processed_weights import ProcessedWeights

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class InjectableModel(Protocol):
    """A model to inject memories into: on the fast engine (`PlainModel`), or in TransformerLens (`HookedModel`)."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""

    @property
    def engine(self) -> InjectionEngine:
        """The engine that injects at every position."""

    @property
    def processed(self) -> ProcessedWeights:
        """The processed weights between residual stream and vocabulary."""

    def process_weights(self) -> "TransformerBridge":
        """Return the model with processed weights, in which heads are read."""

    def build_engine(self, positions: Positions | None, head: int | None) -> InjectionEngine:
        """Return an engine that injects at some positions, or through one head (see `hooked_engine.injecting`)."""

    def injecting(self, layer: int, vectors: Float[Tensor, "batch d_model"]) -> AbstractContextManager[None]:
        """Within the block, every `step` adds these vectors, one for each row, to the layer's attention output."""

    def step(self, tokens: Int[Tensor, "batch pos"], cache: Any) -> tuple[Float[Tensor, "batch vocab"], Any]:
        """Return the next token's logits, and the cache with `tokens` added.

        `tokens` continue the text in the cache, which is None at first.
        """
