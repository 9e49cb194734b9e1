"""The encodings of memories: how a text becomes the vector that is injected (paper, section 3.3; arXiv 2411.05037).

To add an encoding, register a function here or in an installed package (`memory_injections.registry`). Config, schema
and command line then offer it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from memory_injections.errors import StudyError
from memory_injections.registry import Registry
from memory_injections.terms import ANY_ENCODING, RELATIVE

# Whoever checks a config asks for the names: what computes with tensors is imported only where it is used.
if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from memory_injections.injection.engine import InjectionEngine
    from memory_injections.models.processed_weights import ProcessedWeights


# Characters of a memory in a message.
LONGEST_SHOWN = 80


class Reader(Protocol):
    """The model that encodes: its engine, its tokenizer, and its processed weights."""

    engine: "InjectionEngine"
    tokenizer: "PreTrainedTokenizerBase"
    processed: "ProcessedWeights"


Encode = Callable[[Reader, Sequence[str], Sequence[int]], 'Float[Tensor, "text #layer d_model"]']


@dataclass(frozen=True)
class Encoding:
    """How memories become vectors.

    `encode` takes a model, the memories' texts and the layers that they go into, and returns the vectors in float32. An
    encoding that `needs_pass` runs the model and gives a vector for each layer; any other gives one for all layers,
    which is kept.
    """

    name: str
    label: str
    encode: Encode
    needs_pass: bool = False


ENCODINGS: Registry[Encoding] = Registry("encoding", reserved=f"{ANY_ENCODING}|.*{RELATIVE}")


def register_encoding(name: str, *, label: str, needs_pass: bool = False) -> Callable[[Encode], Encode]:
    """Register the function that encodes memories; see `Encoding`."""

    def register(function: Encode) -> Encode:
        ENCODINGS.register(Encoding(name, label, function, needs_pass))
        return function

    return register


@register_encoding("unembed", label="the sum of its tokens' columns of the unembedding")
def sum_unembedding_columns(
    model: Reader, texts: Sequence[str], layers: Sequence[int]
) -> 'Float[Tensor, "text 1 d_model"]':
    """Sum the columns of the processed W_U over the set of a memory's tokens."""
    import torch

    return torch.stack([model.processed.W_U[:, _list_tokens(model, text)].sum(dim=1) for text in texts])[:, None]


@register_encoding("unembed_spaced", label="the same of the memory as it stands in a text, with a space in front")
def sum_unembedding_columns_of_word(
    model: Reader, texts: Sequence[str], layers: Sequence[int]
) -> 'Float[Tensor, "text 1 d_model"]':
    """Sum the columns of the processed W_U over the set of the tokens that a memory has behind a space."""
    import torch

    return torch.stack([model.processed.W_U[:, _list_tokens(model, text, True)].sum(dim=1) for text in texts])[:, None]


@register_encoding("embed", label="the sum of its tokens' rows of the embedding")
def sum_embedding_rows(model: Reader, texts: Sequence[str], layers: Sequence[int]) -> 'Float[Tensor, "text 1 d_model"]':
    """Sum the rows of the processed W_E over the set of a memory's tokens."""
    import torch

    return torch.stack([model.processed.W_E[_list_tokens(model, text)].sum(dim=0) for text in texts])[:, None]


@register_encoding("layer", label="what the layer's attention adds at its last token", needs_pass=True)
def read_attention_outputs(
    model: Reader, texts: Sequence[str], layers: Sequence[int]
) -> 'Float[Tensor, "text layer d_model"]':
    """Take each layer's attention output at the last token of a text that the model reads by itself, after BOS.

    Raises `StudyError` for a text that is longer than the model's context.
    """
    import torch

    from memory_injections.models.limits import MEMORY_PADDING, MEMORY_TOKENS
    from memory_injections.models.tokenisation import batch_by_length, pad, tokenise_prompt

    rows = [tokenise_prompt(model.tokenizer, text) for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if model.engine.n_ctx is not None and len(row) > model.engine.n_ctx:
            raise StudyError(
                f"the memory {text[:LONGEST_SHOWN]!r} has {len(row)} tokens, BOS included, but the model takes "
                f"{model.engine.n_ctx}; shorten it, or leave the encoding `layer` out"
            )
    outputs = torch.empty(len(rows), len(layers), model.processed.W_U.shape[0], device=model.engine.device)
    for batch in batch_by_length([len(row) for row in rows], MEMORY_TOKENS, MEMORY_PADDING):
        tokens, lengths = pad([rows[index] for index in batch], model.engine.device, MEMORY_PADDING)
        clean = model.engine.clean(tokens, lengths, layers)
        outputs[batch] = clean.stack_last_attn_out().to(outputs.device)
    return outputs


def _list_tokens(model: Reader, text: str, is_spaced: bool = False) -> list[int]:
    from memory_injections.models.tokenisation import tokenise_memory

    return list(tokenise_memory(model.tokenizer, text, is_spaced))
