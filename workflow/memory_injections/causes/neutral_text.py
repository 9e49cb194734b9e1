"""What injections do to a text that has nothing to do with any memory: how surprising it becomes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.tokenisation import find_bos, pad, tokenise_text

# Tokens of the text that are read together, behind BOS.
WINDOW = 63


def cut_windows(tokenizer: PreTrainedTokenizerBase, text: str, n_ctx: int | None = None) -> list[list[int]]:
    """Cut a text into windows of `WINDOW` tokens, or of as many as the model takes, with BOS in front of each."""
    tokens, size = tokenise_text(tokenizer, text), min(WINDOW, (n_ctx or WINDOW + 1) - 1)
    return [[find_bos(tokenizer), *tokens[start : start + size]] for start in range(0, len(tokens), size)]


@torch.inference_mode()
def measure_surprisal(
    engine: SkippingEngine, windows: Sequence[Sequence[int]], layer: int, vectors: Float[Tensor, "cell d_model"]
) -> Float[Tensor, " cell"]:
    """Return the text's mean surprisal under each vector, in nats a token: its exponential is the perplexity.

    The vector is added to the attention output of `layer` at every position. The first token of a window follows BOS.
    """
    total, n_tokens = torch.zeros(len(vectors), device=engine.device), 0
    for window in windows:
        tokens, lengths = pad([window], engine.device)
        clean = engine.clean(tokens, lengths, [layer], reads_all=True)
        n_tokens += len(window) - 1
        size = max(1, CELL_TOKENS[engine.device.type] // len(window))
        for start in range(0, len(vectors), size):
            part = vectors[start : start + size].to(engine.device)
            rows = torch.zeros(len(part), dtype=torch.long, device=engine.device)
            logits = engine.injected(clean, [layer] * len(part), rows, part)[:, :-1]
            own = logits.gather(2, tokens[:, 1:, None].expand(len(part), -1, 1))[..., 0]
            total[start : start + size] += (logits.logsumexp(dim=2) - own).sum(dim=1)
    return total / n_tokens
