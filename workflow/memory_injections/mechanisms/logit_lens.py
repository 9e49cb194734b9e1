"""The logit lens after an injection: what each later block's residual stream says of memory and answer.

The residual stream behind every block from the injected one on is read by the model's own end: norm, unembedding,
softmax (nostalgebraist 2020).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.residuals import read_out, trace_injections
from memory_injections.models.limits import CELL_PADDING, CELL_TOKENS, LAST_POSITION_CELLS
from memory_injections.models.scoring import score_answers
from memory_injections.models.tokenisation import Prompt, batch_by_length, pad

STATES = ("clean", "injected")
SCORES = ("logp", "rank")


def read_blocks(
    engine: SkippingEngine,
    prompts: Sequence[Prompt],
    layer: int,
    vectors: Float[Tensor, "prompt d_model"],
    targets: Mapping[str, Int[Tensor, " prompt"]],
) -> pd.DataFrame:
    """Read the residual stream at the end of every prompt, behind every block from `layer` on, with and without vector.

    Returns a row for each prompt (its number in `prompts`), block and target with logp_clean, rank_clean,
    logp_injected and rank_injected: log-probability (nats) and rank (from 0) of the target's token.
    """
    multiple_of = CELL_PADDING[engine.device.type]
    lengths = [len(prompt.tokens) for prompt in prompts]
    # Each prompt is in its batch twice: clean and injected.
    batches = batch_by_length(lengths, CELL_TOKENS[engine.device.type] // len(STATES), multiple_of)
    tables = []
    for batch in batches:
        tokens, n_tokens = pad([prompts[index].tokens for index in batch], engine.device, multiple_of)
        clean = engine.clean(tokens, n_tokens, [layer])
        own = vectors[batch].to(engine.device)
        rows = torch.arange(len(batch), device=engine.device).repeat(len(STATES))
        resid, _ = trace_injections(engine, clean, layer, rows, torch.cat([torch.zeros_like(own), own]))
        tokens_read = {name: token[batch].to(engine.device) for name, token in targets.items()}
        tables += _score_blocks(engine, resid.unflatten(1, (len(STATES), len(batch))), tokens_read, batch, layer)
    return pd.concat(tables, ignore_index=True)


def _score_blocks(
    engine: SkippingEngine,
    resid: Float[Tensor, "block state prompt d_model"],
    targets: Mapping[str, Int[Tensor, " prompt"]],
    batch: Sequence[int],
    layer: int,
) -> list[pd.DataFrame]:
    """Return a table for each target."""
    shape = resid.shape[:-1]
    tokens = {name: token.expand(shape).flatten() for name, token in targets.items()}
    found: dict[str, list[dict[str, Tensor]]] = {name: [] for name in targets}
    rows, size = resid.flatten(0, 2), LAST_POSITION_CELLS[engine.device.type]
    for part in (slice(start, start + size) for start in range(0, len(rows), size)):
        log_probs = read_out(engine, rows[part]).log_softmax(dim=1)
        for name, token in tokens.items():
            found[name].append(score_answers(log_probs, token[part]))
    tables = []
    for name, parts in found.items():
        index = pd.MultiIndex.from_product(
            [range(layer, layer + len(resid)), batch, [name]], names=["block", "prompt", "target"]
        )
        table = index.to_frame(index=False)
        for score in SCORES:
            values = torch.cat([part[score] for part in parts]).view(shape).numpy(force=True)
            for state, of_state in zip(STATES, np.moveaxis(values, 1, 0), strict=True):
                table[f"{score}_{state}"] = of_state.ravel()
        tables.append(table)
    return tables
