"""Injections into one prompt, for trying things out: what the command line does, from Python.

    from memory_injections import Injector

    injector = Injector.load()
    result = injector.inject("The first president of the United States fought in the", "George Washington", layer=9)
    print(result.table)

Tables have the columns of a study's: `p_obscure` and `rank_obscure` are a token's probability and rank without the
memory, `p_injected` and `rank_injected` with it. Ranks count from 0, the most probable token.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from memory_injections.analysis.averages import percent_change
from memory_injections.data.text_tables import has_text
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import CellComputer, Prompt
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.skipping_engine import InjectionEngine
from memory_injections.injection.validation import Positions, check_index, check_magnitude, check_overflow, selected
from memory_injections.interactive.generation import Continuation, continued
from memory_injections.interactive.hooked_model import HookedModel
from memory_injections.interactive.model_forms import ModelForms
from memory_injections.interactive.pretrained import DEFAULT, Pretrained
from memory_injections.models.lens import in_vocabulary
from memory_injections.models.limits import CELL_PADDING
from memory_injections.models.scoring import kl_divergence
from memory_injections.models.tokenisation import first_token, memory_ids, pad, prompt_ids
from memory_injections.terms import Encoding

# The paper's grid (section 4).
MAGNITUDES = tuple(float(magnitude) for magnitude in range(1, 16))


@dataclass(frozen=True)
class Injection:
    """The next token without and with a memory at one site.

    `table` has a row for each of the most probable tokens of either, and for the answer's first token if an answer
    was given, from the most probable after the injection: token_id, token, p_obscure, p_injected, percent_change,
    rank_obscure, rank_injected. `answer` is that token's row. `kl` is KL(without || with) in nats.
    """

    table: pd.DataFrame
    answer: pd.Series | None
    kl: float


@dataclass(frozen=True)
class Grid:
    """One token's probability after injections into many sites.

    `table` has a row for each site: layer, magnitude, memory, encoding, p_obscure, p_injected, percent_change,
    rank_obscure, rank_injected, logp_obscure, logp_injected (nats), kl (nats), top_token_id and top_token, the most
    probable token after. `token` is the answer's first token, or without an answer the prompt's most probable next
    token.
    """

    table: pd.DataFrame
    token_id: int
    token: str

    @property
    def best(self) -> pd.Series:
        """The site with the highest probability. For a single prompt it is no evidence: chance alone makes one."""
        return self.table.loc[self.table["logp_injected"].idxmax()]

    @property
    def percent_change(self) -> pd.DataFrame:
        """Percent change of the token's probability, a row for each layer, a column for each magnitude."""
        return self.table.pivot(index="layer", columns="magnitude", values="percent_change")


class Injector:
    """Injects memories into prompts of one model, by the paper's definitions (section 3).

    Every method raises `StudyError`, one sentence that says what to mend, for a layer that the model does not have,
    an empty text, an unknown encoding, a magnitude that is no finite number or overflows the model's arithmetic,
    and a prompt beyond the model's context.
    """

    def __init__(self, model: ModelForms) -> None:
        self.model = model

    @classmethod
    def load(cls, model: str | Path = DEFAULT, device: str | torch.device | None = None) -> "Injector":
        """An injector on the fast engine, in float32, on the GPU if there is one.

        `model` is an entry of the default study, a folder in Hugging Face format, or a repository on the hub. What
        has to be fetched is fetched once (see `pretrained`).
        """
        on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(Pretrained.named(model, on))

    @classmethod
    def of(cls, bridge: TransformerBridge) -> "Injector":
        """An injector through the hooks of a model that TransformerLens has loaded, in any precision.

        The bridge is left as it is. If its weights are not processed (by `enable_compatibility_mode()` with its
        defaults), memories come from a copy that is processed, which takes the model's memory again for a moment.
        """
        return cls(HookedModel(bridge))

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.model.n_layers

    def vector(self, memory: str, encoding: str = "unembed", layer: int = 0) -> Float[Tensor, " d_model"]:
        """The vector of a memory, of magnitude 1; only in the encoding `layer` does it depend on the layer."""
        self._check_layer(layer)
        return self._vectors(self.model.engine, memory, encoding, [layer])[0]

    def inject(
        self,
        prompt: str,
        memory: str,
        *,
        layer: int,
        magnitude: float = 1.0,
        encoding: str = "unembed",
        answer: str | None = None,
        top_k: int = 10,
        positions: Positions | None = None,
        head: int | None = None,
    ) -> Injection:
        """The next token without and with the memory at one layer and magnitude (paper, section 3.3).

        The memory is added to the layer's attention output at every position, BOS included, or at some `positions`
        (from 0, which is BOS), or through one `head`, which is the same as through the whole layer.
        """
        self._check_layer(layer)
        check_magnitude(magnitude)
        ids = self._prompt(prompt)
        wanted = [] if answer is None else [self._answer(answer)]
        engine = self._engine(ids, positions, head)
        vector = magnitude * self._vectors(engine, memory, encoding, [layer])
        clean = engine.clean(*pad([ids], engine.device, CELL_PADDING[engine.device.type]), [layer])
        logits = engine.injected(clean, [layer], torch.zeros(1, dtype=torch.long, device=engine.device), vector)
        check_overflow(logits, layer, magnitude)
        before, after = (values.log_softmax(dim=1).cpu() for values in (clean.logits, logits))
        table = self._next_tokens(before[0], after[0], wanted, top_k)
        return Injection(
            table,
            table[table["token_id"] == wanted[0]].iloc[0] if wanted else None,
            float(kl_divergence(before, after)),
        )

    def sweep(
        self,
        prompt: str,
        memory: str,
        *,
        layers: Iterable[int] | None = None,
        magnitudes: Iterable[float] = MAGNITUDES,
        encoding: str = "unembed",
        answer: str | None = None,
        positions: Positions | None = None,
        head: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Grid:
        """The same over a grid of layers (all by default) and magnitudes (the paper's 1 to 15).

        Follows the answer, or without one the token that is most probable without the memory. `progress` is called
        with the number of cells that are done and of all.
        """
        layers = range(self.n_layers) if layers is None else sorted(set(layers))
        magnitudes = sorted({float(magnitude) for magnitude in magnitudes})
        if not layers or not magnitudes:
            raise StudyError("the grid has no layers or no magnitudes; give at least one of each")
        for layer in layers:
            self._check_layer(layer)
        for magnitude in magnitudes:
            check_magnitude(magnitude)
        ids = self._prompt(prompt)
        engine = self._engine(ids, positions, head)
        self._check_memory(memory, encoding)
        token = self._most_probable(engine, ids) if answer is None else self._answer(answer)
        cells = pd.MultiIndex.from_product(
            [["prompt"], [encoding], [memory], layers, magnitudes],
            names=["prompt", "encoding", "memory", "layer", "magnitude"],
        ).to_frame(index=False)
        encoder = MemoryEncoder(engine, self.model.tokenizer, self.model.lens)
        computer = CellComputer(engine, encoder, yield_seconds=0.2)
        done: list[pd.DataFrame] = []
        try:
            for scored in computer.compute(cells, {"prompt": Prompt(ids, token)}):
                done.append(scored)
                if progress:
                    progress(sum(map(len, done)), len(cells))
        except StudyError as error:
            raise StudyError(str(error).removeprefix("config key injection.magnitudes: ")) from None
        table = pd.concat(done).sort_index().drop(columns="prompt")
        table.insert(table.columns.get_loc("p_injected") + 1, "percent_change", percent_change(table))
        table["top_token"] = self._texts(table["top_token_id"])
        return Grid(table, token, self._texts([token])[0])

    def heads(self, prompt: str, layers: Iterable[int] | None = None, top_k: int = 5) -> pd.DataFrame:
        """What every attention head says at the prompt's last position (paper, section 3.2).

        A row for each of the `top_k` tokens of each head: layer, head, rank, token_id, token, logit. A logit is the
        head's output times the processed W_U plus b_U, without the final norm.
        """
        layers = range(self.n_layers) if layers is None else sorted(set(layers))
        for layer in layers:
            self._check_layer(layer)
        ids = self._prompt(prompt)
        lens, bridge = self.model.lens, self.model.processed()
        tables = []
        with torch.no_grad():
            tokens = torch.tensor([ids], device=bridge.W_E.device)
            names = [f"blocks.{layer}.attn.hook_z" for layer in layers]
            _, cache = bridge.run_with_cache(tokens, names_filter=names)
            for layer, name in zip(layers, names, strict=True):
                z = cache[name][0, -1].float().to(lens.W_O.device)
                top = in_vocabulary(lens, torch.einsum("hd,hdm->hm", z, lens.W_O[layer])).topk(top_k, dim=-1)
                heads, ranks = np.indices(top.indices.shape)
                columns = {
                    "layer": layer,
                    "head": heads.ravel(),
                    "rank": ranks.ravel(),
                    "token_id": top.indices.flatten().numpy(force=True),
                    "logit": top.values.flatten().numpy(force=True),
                }
                tables.append(pd.DataFrame(columns))
        table = pd.concat(tables, ignore_index=True)
        table.insert(4, "token", self._texts(table["token_id"]))
        return table

    def generate(
        self,
        prompt: str,
        memory: str,
        *,
        layer: int,
        magnitude: float = 1.0,
        encoding: str = "unembed",
        max_new_tokens: int = 20,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Continuation:
        """How the prompt goes on without and with the memory, which is added at every position, new ones included.

        Temperature 0 is greedy. Above it, tokens are drawn, with the same random numbers for both, so that they
        differ by the memory alone. Either ends before the EOS token.
        """
        self._check_layer(layer)
        check_magnitude(magnitude)
        ids = self._prompt(prompt, max_new_tokens)
        vector = self._vectors(self.model.engine, memory, encoding, [layer])[0]
        return continued(self.model, ids, vector, layer, magnitude, max_new_tokens, temperature, seed)

    def _engine(self, ids: Sequence[int], positions: Positions | None, head: int | None) -> InjectionEngine:
        if positions is None and head is None:
            return self.model.engine
        return self.model.hooked(selected(positions, len(ids)), head)

    def _vectors(
        self, engine: InjectionEngine, memory: str, encoding: str, layers: Sequence[int]
    ) -> Float[Tensor, "vector d_model"]:
        self._check_memory(memory, encoding)
        return MemoryEncoder(engine, self.model.tokenizer, self.model.lens).encode([(encoding, memory)], layers).vectors

    def _most_probable(self, engine: InjectionEngine, ids: Sequence[int]) -> int:
        tokens, lengths = pad([ids], engine.device, CELL_PADDING[engine.device.type])
        return int(engine.clean(tokens, lengths, []).logits.argmax())

    def _next_tokens(
        self, before: Float[Tensor, " d_vocab"], after: Float[Tensor, " d_vocab"], wanted: list[int], top_k: int
    ) -> pd.DataFrame:
        likely = (log_probs.topk(min(top_k, len(log_probs))).indices for log_probs in (after, before))
        tokens = torch.unique(torch.cat([*likely, torch.tensor(wanted, dtype=torch.long)]))
        tokens = tokens[after[tokens].argsort(descending=True, stable=True)]
        table = pd.DataFrame({"token_id": tokens.numpy(), "token": self._texts(tokens.tolist())})
        for name, log_probs in (("obscure", before), ("injected", after)):
            table[f"p_{name}"] = log_probs[tokens].exp().numpy()
            table[f"rank_{name}"] = (log_probs > log_probs[tokens, None]).sum(dim=1).numpy()
        table["percent_change"] = percent_change(table)
        return table

    def _texts(self, tokens: Iterable[int]) -> list[str]:
        return [str(self.model.tokenizer.decode([token])) for token in tokens]

    def _prompt(self, prompt: str, n_new: int = 0) -> list[int]:
        if not has_text(prompt):
            raise StudyError("the prompt is empty; give a text")
        return self._fitting("prompt", prompt, n_new)

    def _fitting(self, what: str, text: str, n_new: int = 0) -> list[int]:
        ids = prompt_ids(self.model.tokenizer, text)
        if self.model.n_ctx is not None and len(ids) + n_new > self.model.n_ctx:
            new = f", and is to get {n_new} new ones" if n_new else ""
            raise StudyError(
                f"the {what} has {len(ids)} tokens, BOS included{new}, but the model takes {self.model.n_ctx}; "
                "shorten it"
            )
        return ids

    def _answer(self, answer: str) -> int:
        try:
            return first_token(self.model.tokenizer, answer)
        except StudyError as error:
            raise StudyError(f"the answer {error}") from None

    def _check_memory(self, memory: str, encoding: str) -> None:
        if encoding not in get_args(Encoding):
            raise StudyError(f"encoding {encoding!r} is unknown; use one of {', '.join(get_args(Encoding))}")
        if not has_text(memory):
            raise StudyError("the memory is empty; give a text")
        memory_ids(self.model.tokenizer, memory)
        if encoding == "layer":
            self._fitting("memory", memory)

    def _check_layer(self, layer: int) -> None:
        check_index("layer", layer, self.n_layers)
