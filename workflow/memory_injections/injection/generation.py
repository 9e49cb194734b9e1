"""Answers that the model writes: greedy continuations of prompts under an injection, and whether they are right."""

import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from memory_injections.injection.cell_computer import Batches
from memory_injections.injection.skipping_engine import SkippingEngine, add_to_first
from memory_injections.models.limits import MORE_TOKENS, PROMPT_PADDING
from memory_injections.models.tokenisation import PIECE
from memory_injections.terms import AnswerPositions

ARTICLES = re.compile(r"\b(a|an|the)\b")
# What may become an article, which does not count.
UNFINISHED_ARTICLE = re.compile(r"\b(a|an|t|th|the)$", re.IGNORECASE)
PUNCTUATION = str.maketrans("", "", string.punctuation)
# Says of a row whether its new tokens leave open what was asked.
IsOpen = Callable[[int, Sequence[int]], bool]


def normalise_answer(text: str) -> str:
    """Return a text in lower case without punctuation, articles and spare blanks, as SQuAD's evaluation compares it.

    What nothing would be left of stays as it is, in lower case.
    """
    return _reduce(text) or text.lower().strip()


def _reduce(text: str) -> str:
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def leaves_open(beginning: str, answers: Iterable[str]) -> bool:
    """Return whether it is still open if a continuation that begins with this text is right; see `is_right`.

    The text may end within a word or a character.
    """
    text = beginning.rstrip(PIECE)
    rights = [normalise_answer(answer) for answer in answers]
    if any(f"{_reduce(text)} ".startswith(f"{right} ") and _reduce(text) != right for right in rights):
        return False
    beginnings = {_reduce(text), _reduce(UNFINISHED_ARTICLE.sub("", text))}
    return any(right.startswith(begun) or begun.startswith(right) for begun in beginnings for right in rights)


def is_right(written: str, answers: Iterable[str]) -> bool:
    """Return whether a continuation begins with the words of one of the answers, all normalised."""
    words = normalise_answer(written).split()
    return any(words[: len(right)] == right for right in (normalise_answer(answer).split() for answer in answers))


def count_new_tokens(tokenizer: PreTrainedTokenizerBase, answers: Iterable[str]) -> int:
    """Return how many tokens to write: those of the longest answer, and `MORE_TOKENS`."""
    return MORE_TOKENS + max(len(tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]) for answer in answers)


def write_answers(
    engine: SkippingEngine,
    prompts: Sequence[Sequence[int]],
    n_new: Sequence[int],
    layers: Sequence[int] | None = None,
    vectors: Float[Tensor, "prompt d_model"] | None = None,
    positions: AnswerPositions = "prompt",
    is_open: IsOpen | None = None,
) -> list[list[int]]:
    """Continue each prompt (its token ids) greedily, by `n_new` tokens, fewer if the text or the context ends.

    With `layers`, each prompt's vector is added to the attention output of its layer, at the prompt's positions or at
    `all`, those of what is written, too. With `is_open`, a continuation also ends with the token that leaves nothing
    open; it gets the prompt's row. Prompts of similar lengths go through the model together, filled up on the left.
    """
    batches = Batches(engine.device)
    written: list[list[int]] = [[] for _ in prompts]
    room = [max(n_new) if engine.n_ctx is None else engine.n_ctx - len(prompt) for prompt in prompts]

    def measure(row: int) -> int:
        """The length that a prompt is filled up to, unless the context ends before."""
        n_filled = -(-len(prompts[row]) // PROMPT_PADDING) * PROMPT_PADDING
        return n_filled if n_filled - len(prompts[row]) + n_new[row] <= room[row] else len(prompts[row])

    order = sorted((row for row in range(len(prompts)) if room[row] > 0), key=lambda row: (measure(row), n_new[row]))
    for n_tokens, group in groupby(order, key=measure):
        waiting = list(group)
        while waiting:
            n_positions = n_tokens + n_new[waiting[0]]
            rows = waiting[: max(1, batches.max_tokens // n_positions)]

            def write(rows: Sequence[int] = tuple(rows)) -> list[list[int]]:
                with ExitStack() as stack:
                    if layers is not None and vectors is not None:
                        here = [layers[row] for row in rows]
                        stack.enter_context(_adding(engine, here, vectors[list(rows)], positions))
                    ends = _Ends(rows, [min(room[row], n_new[row]) for row in rows], is_open)
                    return _continue(engine.model, [prompts[row] for row in rows], ends)

            found = batches.attempt(len(rows), n_positions, write)
            if found is not None:
                waiting = waiting[len(rows) :]
                for row, tokens in zip(rows, found, strict=True):
                    written[row] = tokens
    return written


class _Ends(StoppingCriteria):
    """Where each continuation of a batch ends: after how many new tokens."""

    def __init__(self, rows: Sequence[int], n_new: Sequence[int], is_open: IsOpen | None) -> None:
        self.rows, self.n_new, self.is_open = rows, list(n_new), is_open
        self.n_calls = 0

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self.n_calls += 1
        if self.is_open is not None:
            new = input_ids[:, -self.n_calls :].tolist()
            for index, row in enumerate(self.rows):
                if self.n_calls < self.n_new[index] and not self.is_open(row, new[index]):
                    self.n_new[index] = self.n_calls
        return torch.tensor(self.n_new, device=input_ids.device) <= self.n_calls


def _continue(model: Any, prompts: Sequence[Sequence[int]], ends: _Ends) -> list[list[int]]:
    """Return the tokens that the model writes behind some prompts."""
    longest = max(map(len, prompts))
    fillings = [longest - len(prompt) for prompt in prompts]
    tokens = torch.tensor([[0] * n + list(ids) for n, ids in zip(fillings, prompts, strict=True)], device=model.device)
    is_token = torch.tensor([[0] * n + [1] * (longest - n) for n in fillings], device=model.device)
    eos = model.generation_config.eos_token_id
    pad = eos[0] if isinstance(eos, list) else eos
    # What else a model brings along for writing, such as a penalty of repetitions, is no greedy decoding.
    before, model.generation_config = model.generation_config, GenerationConfig()
    try:
        with torch.inference_mode():
            whole = model.generate(
                tokens,
                attention_mask=is_token,
                do_sample=False,
                max_new_tokens=max(ends.n_new),
                stopping_criteria=StoppingCriteriaList([ends]),
                eos_token_id=eos,
                pad_token_id=0 if pad is None else pad,
            )
    finally:
        model.generation_config = before
    new = whole[:, tokens.shape[1] :].tolist()
    return [ids[:length] for ids, length in zip(new, ends.n_new, strict=True)]


@contextmanager
def _adding(
    engine: SkippingEngine, layers: Sequence[int], vectors: Float[Tensor, "row d_model"], positions: AnswerPositions
) -> Iterator[None]:
    """Within the block, add each row's vector to the attention output of its layer."""
    parts = engine.components
    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            is_here = torch.tensor([other == layer for other in layers], device=vectors.device)[:, None]
            added = torch.where(is_here, vectors, 0)[:, None] / parts.attn_scale

            def add(_: nn.Module, __: Any, output: Any, added: Tensor = added) -> Any:
                first = output if isinstance(output, Tensor) else output[0]
                # Behind the prompt, the model reads one token at a time.
                return add_to_first(output, added) if positions == "all" or first.shape[1] > 1 else output

            stack.callback(parts.attn_out[layer].register_forward_hook(add).remove)
        yield


def decode_written(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], written: Sequence[int]) -> str:
    """Return what was written behind a prompt as text, up to the end of its first line."""
    before = str(tokenizer.decode(list(prompt), skip_special_tokens=True))
    text = str(tokenizer.decode([*prompt, *written], skip_special_tokens=True))[len(before) :]
    return text.lstrip().split("\n")[0].rstrip()
