"""How the next-token distribution at a prompt's last position is scored."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from memory_injections.terms import LEAST_LOGP


def score_token(
    logits: Float[Tensor, "batch d_vocab"], token: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Return probability (softmax in float32) and rank (number of higher logits) of one token in each row."""
    scores = score_answers(logits.float().log_softmax(dim=1), token)
    return scores["p"], scores["rank"]


def score_answers(log_probs: Float[Tensor, "batch d_vocab"], token: Int[Tensor, " batch"]) -> dict[str, Tensor]:
    """Return probability `p`, log-probability `logp` (nats) and `rank` of one token in each row, each [batch]."""
    log_prob = log_probs.gather(1, token[:, None])
    rank = torch.count_nonzero(log_probs > log_prob, dim=1)
    return {"p": log_prob[:, 0].exp(), "logp": log_prob[:, 0], "rank": rank}


def score_others(
    log_probs: Float[Tensor, "batch d_vocab"], token: Int[Tensor, " batch"], tokens: Int[Tensor, " answer"]
) -> Float[Tensor, " batch"]:
    """Return the mean log-probability (nats) of `tokens` other than each row's `token`; NaN where there is no other.

    A probability of zero counts as the least one that float32 can express.
    """
    is_other = tokens != token[:, None]
    values = log_probs[:, tokens].clamp_min(LEAST_LOGP)
    return torch.where(is_other, values, 0).sum(dim=1) / is_other.sum(dim=1)


def sum_log_probs(
    log_probs: Float[Tensor, "read d_vocab"], tokens: Int[Tensor, " read"], rows: Int[Tensor, " read"], n_rows: int
) -> Float[Tensor, " row"]:
    """Return the sum of each row's log-probabilities (nats) of one token at each position that is read of it."""
    found = log_probs.gather(1, tokens[:, None])[:, 0].double()
    return found.new_zeros(n_rows).index_add(0, rows, found).float()


def compute_log_prob(logits: Float[Tensor, "batch d_vocab"], token: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the log-probability of one token in each row, in nats, without those of all others in memory."""
    return logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(dim=1)


def kl_divergence(
    clean: Float[Tensor, "batch d_vocab"], injected: Float[Tensor, "batch d_vocab"]
) -> Float[Tensor, " batch"]:
    """Return KL(clean || injected) in nats, from log-probabilities."""
    # Rounding can make the divergence of two equal distributions slightly negative.
    return (clean.exp() * (clean - injected)).sum(dim=1).clamp_min(0)
