"""Side effects: what a memory does to prompts of other memories, and to a text that has nothing to do with any.

They stand against what it does to its own prompt, and against the same push in a random direction.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from memory_injections.controls.kinds import RANDOM, SHUFFLED
from memory_injections.controls.vector_specs import VectorSpec
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.settings import InjectionSite
from memory_injections.models.limits import CELL_TOKENS
from memory_injections.models.tokenisation import Prompt, find_bos, pad, tokenise_text
from memory_injections.sweeps.cells import KEY
from memory_injections.terms import CURATED

# Tokens of the neutral text that are read together, behind BOS.
WINDOW = 63


def plan_side_effects(
    pairs: pd.DataFrame, others: Sequence[Int[np.ndarray, " drawn"]], site: InjectionSite, factors: Sequence[float]
) -> pd.DataFrame:
    """List the cells of a site: every prompt with its own memory, those of `others`, and as many random directions.

    Each goes in at the site's magnitude times each of `factors`. Columns: prompt (its prompt_id), memories (`curated`,
    `shuffled` or `random_direction`), encoding, relative, memory (the key of a spec), layer and magnitude.
    """
    specs = pd.DataFrame(_list_specs(pairs["memory"].tolist(), others), columns=["row", "memories", "memory"])
    cells = specs.assign(
        prompt=pairs["prompt_id"].to_numpy()[specs["row"]],
        encoding=site.encoding,
        relative=site.relative,
        layer=site.layer,
    ).drop(columns="row")
    return cells.merge(pd.DataFrame({"magnitude": scale_magnitude(site, factors)}), how="cross")


def scale_magnitude(site: InjectionSite, factors: Sequence[float]) -> list[float]:
    """List a site's magnitude times each of some factors; once only if the site's magnitude is zero."""
    return list(dict.fromkeys(site.magnitude * factor for factor in factors))


def _list_specs(memories: Sequence[str], others: Sequence[Int[np.ndarray, " drawn"]]) -> Iterator[tuple[int, str, str]]:
    for row, drawn in enumerate(others):
        yield row, CURATED, VectorSpec(CURATED, memories[row], 0, 0).key
        for index, source in enumerate(drawn.tolist()):
            yield row, SHUFFLED, VectorSpec(CURATED, memories[source], 0, 0).key
            yield row, RANDOM, build_random_spec(memories[row], row * len(drawn) + index)


def build_random_spec(memory: str, seed: int) -> str:
    """Return the key of the spec of a random direction with the length of a memory's vector."""
    return VectorSpec(RANDOM, memory, 0, 0, seed=seed).key


def measure_side_effects(computer: CellComputer, cells: pd.DataFrame, prompts: Mapping[int, Prompt]) -> pd.DataFrame:
    """Compute planned cells; return them with their scores and is_top_changed: whether another token is first now.

    `computer` must encode specs.
    """
    # An injection of nothing says which token was the most probable one before.
    clean = cells.drop_duplicates("prompt").assign(magnitude=0.0)
    wanted = pd.concat([cells, clean])[KEY].drop_duplicates(ignore_index=True)
    scores = pd.concat(computer.compute(wanted, prompts))
    # Where zero is among the factors, several memories are injections of nothing.
    before = scores[scores["magnitude"] == 0].drop_duplicates("prompt").set_index("prompt")["top_token_id"]
    scores["is_top_changed"] = scores["top_token_id"] != scores["prompt"].map(before)
    return cells.merge(scores, on=KEY, validate="many_to_one")


def cut_windows(tokenizer: PreTrainedTokenizerBase, text: str, n_ctx: int | None) -> list[list[int]]:
    """Cut a text into windows of at most `WINDOW` tokens, with BOS in front of each; of fewer in a short context."""
    tokens, size = tokenise_text(tokenizer, text), WINDOW if n_ctx is None else max(1, min(WINDOW, n_ctx - 1))
    return [[find_bos(tokenizer), *tokens[start : start + size]] for start in range(0, len(tokens), size)]


@torch.inference_mode()
def measure_surprisal(
    engine: SkippingEngine, windows: Sequence[Sequence[int]], layer: int, vectors: Float[Tensor, "cell d_model"]
) -> Float[Tensor, " cell"]:
    """Return a text's mean surprisal under each vector, in nats a token; its exponential is the perplexity.

    Vectors are added to the attention output of `layer` at every position. `windows` are parts of the text, each with
    BOS in front, that the model sees by themselves.
    """
    tokens, lengths = pad(windows, engine.device)
    n_pos = tokens.shape[1]
    clean = engine.clean(tokens, torch.full_like(lengths, n_pos), [layer], n_read=[n_pos] * len(windows))
    is_text = torch.arange(1, n_pos, device=engine.device) < lengths[:, None]
    total = torch.zeros(len(vectors), device=engine.device)
    size = max(1, CELL_TOKENS[engine.device.type] // n_pos)
    for cells in torch.arange(len(vectors) * len(windows), device=engine.device).split(size):
        vector, window = cells // len(windows), cells % len(windows)
        added = vectors[vector.to(vectors.device)].to(engine.device)
        logits = engine.injected(clean, [layer] * len(cells), window, added).unflatten(0, (-1, n_pos))[:, :-1]
        own = logits.gather(2, tokens[window, 1:, None])[..., 0]
        surprisal = (logits.logsumexp(dim=2) - own) * is_text[window]
        total.index_add_(0, vector, surprisal.sum(dim=1))
    return total / is_text.sum()
