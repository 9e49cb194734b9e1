"""Direct effects: what a memory writes straight into the answer's logit, without any later layer's help."""

import pandas as pd
import torch

from memory_injections.activations.cache_file import ActivationCache, measure_residual_norms
from memory_injections.analysis.averages import measure_effect
from memory_injections.injection.memory_vectors import Encoder
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.residuals import measure_carry, read_out
from memory_injections.models.limits import LAST_POSITION_CELLS
from memory_injections.models.scoring import compute_log_prob


def measure_direct_effects(
    engine: SkippingEngine, encoder: Encoder, cache: ActivationCache, pairs: pd.DataFrame, cells: pd.DataFrame
) -> pd.DataFrame:
    """Return the cells with their direct effects on the answer, in nats, in the column `direct`.

    The vector of a cell, at its magnitude, joins the residual stream after the last block of the clean pass, multiplied
    by what the blocks multiply the stream by on the way (`residuals.measure_carry`); the final norm divides by what it
    divides the clean stream by, and unembedding and softmax are the model's own. What a layer between the injection
    and the end makes of the vector is left out. Of a probability of zero, the log-probability is the one that it has in
    every effect (`averages.measure_effect`). `cells` has the columns prompt_id, encoding, memory (what the encoder
    takes), layer and magnitude; `pairs` are the pairs that the cache was recorded from.
    """
    rows = pd.Series(range(len(pairs)), index=pairs["prompt_id"]).loc[cells["prompt_id"]].to_numpy()
    layers = sorted(cells["layer"].unique().tolist())
    at = cells["layer"].to_numpy()
    scale = measure_carry(engine)[at]
    if encoder.is_relative:
        scale = scale * measure_residual_norms(cache, encoder.processed).numpy()[rows, at]
    memory, memories = pd.MultiIndex.from_frame(cells[["encoding", "memory"]]).factorize()
    encoded = encoder.encode(memories.tolist(), layers)
    # A vector that serves every layer has one direct effect: it is read once.
    keys = pd.DataFrame(
        {
            "row": rows,
            "vector": encoded.find_rows(memory, at),
            "magnitude": cells["magnitude"].to_numpy() * scale,
        }
    )
    distinct = keys.drop_duplicates(ignore_index=True)
    vectors = encoded.vectors[torch.tensor(distinct["vector"].to_numpy())]
    added = torch.tensor(distinct["magnitude"].to_numpy()).to(vectors)[:, None] * vectors
    row = torch.tensor(distinct["row"].to_numpy())
    resid, answers = cache["obscure.resid"][:, -1], cache["answer_id"].to(engine.device)
    clean = _read_in_parts(engine, resid, None, answers)
    after = _read_in_parts(engine, resid[row], added, answers[row])
    logp = {"logp_obscure": clean[row].cpu().numpy(), "logp_injected": after.cpu().numpy()}
    direct = keys.merge(distinct.assign(direct=measure_effect(pd.DataFrame(logp))), how="left")["direct"]
    return cells.assign(direct=direct.to_numpy())


def _read_in_parts(
    engine: SkippingEngine, resid: torch.Tensor, added: torch.Tensor | None, answers: torch.Tensor
) -> torch.Tensor:
    """Return the answers' log-probabilities, [row]."""
    size = LAST_POSITION_CELLS[engine.device.type]
    parts = [slice(start, start + size) for start in range(0, len(resid), size)]
    logits = (read_out(engine, resid[part], None if added is None else added[part]) for part in parts)
    return torch.cat([compute_log_prob(own, answers[part]) for own, part in zip(logits, parts, strict=True)])
