"""Patching heads: which heads' outputs at the last position carry what the explicit prompt knows and the obscure lacks.

One head at a time gets its output from another prompt's last position, the rest of the obscure prompt's pass stays
(activation patching, causal tracing). An effect is the change of the answer's log-probability, in nats.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.averages import LEAST_LOGP
from memory_injections.injection.cell_computer import Batches
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.settings import OTHER, OWN
from memory_injections.models.limits import LAST_POSITION_CELLS
from memory_injections.models.processed_weights import ProcessedWeights, compute_head_swaps
from memory_injections.models.scoring import compute_log_prob
from memory_injections.models.tokenisation import Prompt


def patch_prompt(
    engine: SkippingEngine,
    processed: ProcessedWeights,
    cache: ActivationCache,
    prompt: Prompt,
    row: int,
    sources: Sequence[int],
) -> Float[Tensor, "source layer head"]:
    """Return the effect of every head's output from the explicit prompts in rows `sources` of the activation cache.

    `prompt` is the obscure prompt in row `row`; what its heads put out comes from the cache, too.
    """
    z = cache.rows("obscure.z", row, row + 1).to(processed.W_O.device)
    others = torch.cat([cache.rows("explicit.z", source, source + 1) for source in sources]).to(processed.W_O.device)
    return patch_last_position(engine, prompt, compute_head_swaps(processed, z, others))


@torch.inference_mode()
def patch_last_position(
    engine: SkippingEngine, prompt: Prompt, vectors: Float[Tensor, "source layer head d_model"]
) -> Float[Tensor, "source layer head"]:
    """Return what each vector does to the answer's log-probability, added to its layer's attention output at the end.

    Earlier positions are not computed again: a causal model's last position changes none of them.
    """
    n_sources, n_layers, n_heads, _ = vectors.shape
    clean = engine.clean_last(torch.tensor([prompt.tokens], device=engine.device))
    # Cells in the order of their layers, as the engine wants them.
    cells = vectors.transpose(0, 1).flatten(0, 2).to(engine.device)
    layers = [layer for layer in range(n_layers) for _ in range(n_sources * n_heads)]
    is_last = torch.arange(clean.tokens.shape[1], device=engine.device) == clean.lengths[0] - 1
    found: list[Tensor] = []
    batches = Batches(engine.device, LAST_POSITION_CELLS[engine.device.type])

    def patch(start: int, stop: int) -> Float[Tensor, " cell"]:
        part = cells[start:stop]
        rows = torch.zeros(len(part), dtype=torch.long, device=engine.device)
        logits = engine.injected(clean, layers[start:stop], rows, part, is_last.expand(len(part), -1))
        return _score(logits, prompt.answer)

    start = 0
    while start < len(cells):
        stop = min(len(cells), start + batches.max_tokens)
        # The keys and values of earlier positions are there once for each cell.
        scores = batches.attempt(stop - start, 1, partial(patch, start, stop))
        if scores is not None:
            found.append(scores)
            start = stop
    effects = torch.cat(found) - _score(clean.logits, prompt.answer)
    return effects.view(n_layers, n_sources, n_heads).transpose(0, 1).cpu()


def _score(logits: Float[Tensor, "cell vocab"], answer: int) -> Float[Tensor, " cell"]:
    """Return the answer's log-probability in each row; zero counts as float32's least probability, as in any effect."""
    log_probs = compute_log_prob(logits, torch.full([len(logits)], answer, device=logits.device))
    return log_probs.clamp_min(LEAST_LOGP)


def tabulate_patches(effects: Float[Tensor, "source layer head"], prompt_id: int) -> pd.DataFrame:
    """Return the effects on one prompt as a table: prompt_id, source (`OWN` or `OTHER`), layer, head, effect."""
    index = pd.MultiIndex.from_product(
        [[prompt_id], [OWN, OTHER][: len(effects)], *map(range, effects.shape[1:])],
        names=["prompt_id", "source", "layer", "head"],
    )
    return pd.DataFrame({"effect": np.ravel(effects)}, index=index).reset_index()
