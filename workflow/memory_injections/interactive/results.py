"""What the Python API returns: next tokens, grids of sites, continuations."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Injection:
    """The next token without and with a memory at one site.

    `table` has a row for each of the most probable tokens without and with the memory, and for the answer's first
    token, if there is an answer. Its columns are token_id, token, p_obscure, p_injected, percent_change, rank_obscure
    and rank_injected; the most probable token after the injection comes first. Beside another memory there are also
    p_shuffled, with that memory, and p_random, the mean over random directions. `answer` is the row of the answer's
    first token, and `kl` is KL(without || with) of the next token in nats.
    """

    table: pd.DataFrame
    answer: pd.Series | None
    kl: float


@dataclass(frozen=True)
class Grid:
    """The probability of one token after injections at many sites.

    `table` has a row for each site. Its columns are layer, magnitude, memory, encoding, p_obscure, p_injected,
    percent_change, rank_obscure, rank_injected, logp_obscure, logp_injected, kl (all three in nats), top_token_id and
    top_token, the most probable token after the injection. `token` is the first token of the answer or, without an
    answer, the token that is most probable without the memory; `token_id` is its id.
    """

    table: pd.DataFrame
    token_id: int
    token: str

    @property
    def best(self) -> pd.Series:
        """The site where the token is most probable. One prompt's best site is no evidence: chance alone makes one."""
        return self.table.loc[self.table["logp_injected"].idxmax()]

    @property
    def percent_change(self) -> pd.DataFrame:
        """Percent change of the token's probability, with a row for each layer and a column for each magnitude."""
        return self.table.pivot(index="layer", columns="magnitude", values="percent_change")


@dataclass(frozen=True)
class Continuation:
    """The text that follows a prompt without the memory (`obscure`) and with it (`injected`).

    Beside another memory there are also the texts with that (`shuffled`) and with a random direction (`random`).
    """

    obscure: str
    injected: str
    shuffled: str | None = None
    random: str | None = None
