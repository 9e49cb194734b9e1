"""One prompt with one memory injected, and the slow path's probabilities for it."""

import numpy as np
import pandas as pd
import torch
from memory_injections.models.tokenisation import Prompt, tokenise_prompt
from slow_path import Model

# The prompt has an odd number of tokens, so the engine pads it.
PROMPT, MEMORY, ANSWER = "The author of Das Kapital is buried in the great city of", "Karl Marx", "London"
# In randomly initialised models, a larger magnitude would swamp everything else.
MAGNITUDE = 0.2


def slow(model: Model, encoding: str, layer: int, answer: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities without and with the memory, where the answer is scored if there is one."""
    own = tokenise_prompt(model.tokenizer, PROMPT)
    ids = own if answer is None else list(Prompt.tokenise(model.tokenizer, PROMPT, answer).tokens)
    vector = MAGNITUDE * model.slow_vector(encoding, MEMORY, layer)
    return model.slow_log_probs(ids, layer, torch.zeros(())), model.slow_log_probs(ids, layer, vector)


def assert_same_probabilities(table: pd.DataFrame, before: torch.Tensor, after: torch.Tensor) -> None:
    tokens = table["token_id"].tolist()
    np.testing.assert_allclose(table["p_obscure"], before[tokens].exp().numpy(), atol=1e-5)
    np.testing.assert_allclose(table["p_injected"], after[tokens].exp().numpy(), atol=1e-5)
