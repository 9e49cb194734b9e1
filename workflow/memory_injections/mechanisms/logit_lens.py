"""The logit lens after an injection: what each later block's residual stream says of memory and answer.

The residual stream behind every block from the injected one on is read by the model's own end: norm, unembedding,
softmax (nostalgebraist 2020). Blocks count from 0, as layers do: block 0 is the first, and its row what is read behind
it.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.residuals import read_out, trace_injections
from memory_injections.models.limits import CELL_PADDING, CELL_TOKENS, LAST_POSITION_CELLS
from memory_injections.models.scoring import score_answers
from memory_injections.models.tokenisation import Prompt, batch_by_length, pad

# The state of a prompt without injection.
CLEAN = "clean"
SCORES = ("logp", "rank")


def read_blocks(
    engine: SkippingEngine,
    prompts: Sequence[Prompt],
    layer: int,
    vectors: Mapping[str, Float[Tensor, "prompt d_model"]],
    targets: Mapping[str, Int[Tensor, " prompt"]],
) -> pd.DataFrame:
    """Read the residual stream at the end of every prompt, behind every block from `layer` on, with and without vector.

    `vectors` gives each prompt a vector under the name of each control. Returns a row for each prompt (its number in
    `prompts`), control, block and target with logp_clean, rank_clean, logp_injected and rank_injected: log-probability
    (nats) and rank (from 0) of the target's token.
    """
    states = [CLEAN, *vectors]
    multiple_of = CELL_PADDING[engine.device.type]
    lengths = [len(prompt.tokens) for prompt in prompts]
    # Each prompt is in its batch once for each state.
    batches = batch_by_length(lengths, CELL_TOKENS[engine.device.type] // len(states), multiple_of)
    tables = []
    for batch in batches:
        tokens, n_tokens = pad([prompts[index].tokens for index in batch], engine.device, multiple_of)
        clean = engine.clean(tokens, n_tokens, [layer])
        own = [of_control[batch].to(engine.device) for of_control in vectors.values()]
        rows = torch.arange(len(batch), device=engine.device).repeat(len(states))
        resid, _ = trace_injections(engine, clean, layer, rows, torch.cat([torch.zeros_like(own[0]), *own]))
        tokens_read = {name: token[batch].to(engine.device) for name, token in targets.items()}
        resid = resid.unflatten(1, (len(states), len(batch)))
        tables += _score_blocks(engine, resid, tokens_read, batch, layer, states)
    return pd.concat(tables, ignore_index=True)


def _score_blocks(
    engine: SkippingEngine,
    resid: Float[Tensor, "block state prompt d_model"],
    targets: Mapping[str, Int[Tensor, " prompt"]],
    batch: Sequence[int],
    layer: int,
    states: Sequence[str],
) -> list[pd.DataFrame]:
    """Return a table for each target and control."""
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
        values = {
            score: torch.cat([part[score] for part in parts]).view(shape).transpose(0, 1).numpy(force=True)
            for score in SCORES
        }
        for number, control in enumerate(states[1:], start=1):
            own = {f"{score}_{CLEAN}": of_states[0].ravel() for score, of_states in values.items()}
            own |= {f"{score}_injected": of_states[number].ravel() for score, of_states in values.items()}
            tables.append(table.assign(control=control, **own))
    return tables
