"""Injections into one prompt, for trying things out: the Python API.

    from memory_injections import Injector

    injector = Injector.load()
    result = injector.inject("The first president of the United States fought in the", "George Washington", layer=9)
    print(result.table)

Tables have the columns of a study's tables: `p_obscure` and `rank_obscure` are a token's probability and rank without
the memory, `p_injected` and `rank_injected` with it. Ranks count from 0, the most probable token.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from memory_injections.activations.heads import count_above
from memory_injections.analysis.averages import measure_change
from memory_injections.controls.kinds import RANDOM, SHUFFLED
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.data.characters import has_text, strip_end, strip_ends
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.injection.engine import InjectionEngine, select_last
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.injection.validation import (
    Positions,
    check_layer,
    check_magnitude,
    check_overflow,
    select_positions,
)
from memory_injections.interactive.models import HookedModel, InjectableModel, PlainModel
from memory_injections.interactive.pretrained import DEFAULT, find_device, load_pretrained
from memory_injections.models.limits import CELL_PADDING
from memory_injections.models.loading import stack_blocks
from memory_injections.models.processed_weights import compute_head_results, read_in_vocabulary
from memory_injections.models.scoring import kl_divergence
from memory_injections.models.tokenisation import Prompt, pad, tokenise_memory, tokenise_prompt
from memory_injections.terms import CURATED, PAPER_ENCODING

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# The paper's grid (section 4).
MAGNITUDES = tuple(float(magnitude) for magnitude in range(1, 16))
logger = logging.getLogger(__name__)


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


class Injector:
    """Injects memories into prompts of one model, by the paper's definitions (section 3).

    Every method raises `StudyError`, one sentence that says what is wrong and what to do, for a layer that the model
    does not have, an empty text, an unknown encoding, a magnitude that is not a finite number or overflows the model's
    arithmetic, and a prompt that is longer than the model's context. Blanks and other invisible characters at the end
    of a prompt, and at both ends of an answer or a memory, are left out, with a warning, as in a study.
    """

    def __init__(self, model: InjectableModel) -> None:
        self.model = model

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT, device: str | torch.device | None = None, lent: Path | None = None
    ) -> "Injector":
        """Load a model in float32, on the fast engine; `device` is by default the GPU if there is one.

        `model` is an entry of the default study, a folder in Hugging Face format, or a repository on the hub. What must
        be fetched is fetched once, into a cache folder (see `pretrained`). `lent` names a folder of models that studies
        have left; one of exactly the same source is used there.
        """
        return cls(load_pretrained(model, find_device(device), lent))

    @classmethod
    def of(
        cls, model: "PreTrainedModel | TransformerBridge", tokenizer: PreTrainedTokenizerBase | None = None
    ) -> "Injector":
        """Take a model that is loaded already: a Hugging Face model with its tokenizer, or a `TransformerBridge`.

        Both may be in any precision, and are left as they are. The first runs on the fast engine, and its memories come
        from a copy with processed weights, in float32. Injections into a bridge go through its hooks; if its weights
        are not processed (`enable_compatibility_mode()` with its defaults does that), memories come from a processed
        copy, which needs the model's memory a second time for a moment.
        """
        return cls(PlainModel.of(model, tokenizer) if isinstance(model, PreTrainedModel) else HookedModel(model))

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.model.engine.n_layers

    def vector(self, memory: str, encoding: str = PAPER_ENCODING, layer: int = 0) -> Float[Tensor, " d_model"]:
        """Return a memory's vector at magnitude 1; it depends on the layer if the encoding runs the model."""
        check_layer(layer, self.n_layers)
        return self.encoder.encode([(encoding, self.read_memory(memory, encoding))], [layer]).vectors[0]

    def dose(
        self, prompt: str, memory: str, *, layer: int, encoding: str = PAPER_ENCODING, answer: str | None = None
    ) -> float:
        """Return how long a memory's vector is at magnitude 1, as a share of the residual stream before the layer.

        The stream is that at the prompt's last position, or that behind which the answer is scored. A relative dose of
        a study is this number times the magnitude.
        """
        vector, (ids, _) = self.vector(memory, encoding, layer), self.read_prompt(prompt, answer)
        tokens, lengths = pad([ids], self.model.engine.device)
        resid = select_last(self.model.engine.clean(tokens, lengths, [layer]).resid_pre[layer], lengths)
        measure = self.model.processed.measure_lengths
        return float(measure(vector)) / float(measure(resid))

    def inject(
        self,
        prompt: str,
        memory: str,
        *,
        layer: int,
        magnitude: float = 1.0,
        encoding: str = PAPER_ENCODING,
        answer: str | None = None,
        top_k: int = 10,
        positions: Positions | None = None,
        head: int | None = None,
        other: str | None = None,
        draws: int = 10,
        seed: int = 0,
    ) -> Injection:
        """Compare the next token without and with a memory at one layer and magnitude (paper, section 3.3).

        The memory is added to the layer's attention output at every position, BOS included. `positions` restricts it to
        some positions, counted from 0 (BOS). `head` adds it to one head's result, which has the same effect. `top_k` is
        how many of the most probable tokens without and with the memory to list. Where the tokenizer writes a bare
        space before the answer as a token of its own, that is the prompt's last token.

        With an `other` memory, the table says what else would do as much: the other memory in its place, and `draws`
        random directions of the memory's length, drawn from `seed` on.
        """
        check_layer(layer, self.n_layers)
        check_magnitude(magnitude)
        ids, wanted = self.read_prompt(prompt, answer)
        vectors = self._encode_beside(memory, other, encoding, layer, draws, seed)
        engine = self._choose_engine(ids, positions, head)
        before, after = _compute_next_tokens(engine, ids, vectors, layer, magnitude)
        table = self._compare_tokens(before, after, wanted, top_k)
        followed = table[table["token_id"] == wanted[0]].iloc[0] if wanted else None
        return Injection(table, followed, float(kl_divergence(before[None], after[:1])))

    def sweep(
        self,
        prompt: str,
        memory: str,
        *,
        layers: Iterable[int] | None = None,
        magnitudes: Iterable[float] = MAGNITUDES,
        encoding: str = PAPER_ENCODING,
        answer: str | None = None,
        positions: Positions | None = None,
        head: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Grid:
        """Inject a memory at every site of a grid: all layers and the paper's magnitudes 1 to 15, unless given.

        The grid follows the first token of the answer or, without an answer, the token that is most probable without
        the memory. `progress` is called with the number of finished cells and the number of all cells. `positions` and
        `head` are those of `inject`.
        """
        layers = self._sort_layers(layers)
        magnitudes = sorted({float(magnitude) for magnitude in magnitudes})
        if not layers or not magnitudes:
            raise StudyError("the grid has no layers or no magnitudes; give at least one of each")
        for magnitude in magnitudes:
            check_magnitude(magnitude)
        ids, wanted = self.read_prompt(prompt, answer)
        engine = self._choose_engine(ids, positions, head)
        memory = self.read_memory(memory, encoding)
        (token,) = wanted or [self._find_most_probable(engine, ids)]
        cells = pd.MultiIndex.from_product(
            [["prompt"], [encoding], [memory], layers, magnitudes],
            names=["prompt", "encoding", "memory", "layer", "magnitude"],
        ).to_frame(index=False)
        finished: list[pd.DataFrame] = []
        for scored in CellComputer(engine, self.encoder, yield_seconds=0.2).compute(
            cells, {"prompt": Prompt(ids, token)}
        ):
            finished.append(scored)
            if progress:
                progress(sum(map(len, finished)), len(cells))
        table = pd.concat(finished).sort_index().drop(columns="prompt")
        table.insert(table.columns.get_loc("p_injected") + 1, "percent_change", measure_change(table))
        table["top_token"] = self.decode_each(table["top_token_id"])
        return Grid(table, token, self.decode_each([token])[0])

    def heads(
        self, prompt: str, layers: Iterable[int] | None = None, top_k: int = 5, answer: str | None = None
    ) -> pd.DataFrame:
        """Read every attention head at the end of a prompt in vocabulary space (paper, section 3.2).

        Returns a row for each of the `top_k` tokens of each head (all of them, if there are fewer), with columns layer,
        head, rank, token_id, token and logit. A logit is the head's output at the last position times the processed W_U
        plus b_U, without the final norm. With an answer, that position is the one behind which it is scored, and the
        columns answer_logit and answer_rank say what each head says of its first token.
        """
        layers = self._sort_layers(layers)
        ids, wanted = self.read_prompt(prompt, answer)
        processed, bridge = self.model.processed, self.model.process_weights()
        tables = []
        with torch.no_grad():
            tokens = torch.tensor([ids], device=bridge.W_E.device)
            names = [f"blocks.{layer}.attn.hook_z" for layer in layers]
            _, cache = bridge.run_with_cache(tokens, names_filter=names)
            z = stack_blocks((cache[name][0, -1] for name in names), processed.W_O.device)
            for layer, results in zip(layers, compute_head_results(processed.select(layers), z), strict=True):
                logits = read_in_vocabulary(processed, results)
                top = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
                heads, ranks = np.indices(top.indices.shape)
                columns = {
                    "layer": layer,
                    "head": heads.ravel(),
                    "rank": ranks.ravel(),
                    "token_id": top.indices.flatten().numpy(force=True),
                    "logit": top.values.flatten().numpy(force=True),
                }
                for token in wanted:
                    wanted_logits = logits[:, token, None]
                    columns["answer_logit"] = wanted_logits.flatten().numpy(force=True)[heads.ravel()]
                    columns["answer_rank"] = count_above(logits, wanted_logits).numpy(force=True)[heads.ravel(), 0]
                tables.append(pd.DataFrame(columns))
        table = pd.concat(tables, ignore_index=True)
        table.insert(4, "token", self.decode_each(table["token_id"]))
        return table

    def generate(
        self,
        prompt: str,
        memory: str,
        *,
        layer: int,
        magnitude: float = 1.0,
        encoding: str = PAPER_ENCODING,
        max_new_tokens: int = 20,
        temperature: float = 0.0,
        other: str | None = None,
        seed: int = 0,
    ) -> Continuation:
        """Continue a prompt without and with a memory, which is added at every position, those of new tokens included.

        Temperature 0 takes the most probable token. Above it, tokens are drawn, with the same random numbers for all
        continuations, so that they differ by the memory alone. Each ends before its first EOS token. With an `other`
        memory, the prompt is also continued with that in its place, and with a random direction.
        """
        check_layer(layer, self.n_layers)
        check_magnitude(magnitude)
        ids, _ = self.read_prompt(prompt, n_new=max_new_tokens)
        vectors = self._encode_beside(memory, other, encoding, layer, 1, seed)
        texts = self.model.continue_prompt(ids, vectors, layer, magnitude, max_new_tokens, temperature, seed)
        return Continuation(*texts)

    def _sort_layers(self, layers: Iterable[int] | None) -> Sequence[int]:
        """Return the layers in ascending order, by default all; raise `LayerError` for one that does not exist."""
        if layers is None:
            return range(self.n_layers)
        layers = sorted(set(layers))
        for layer in layers:
            check_layer(layer, self.n_layers)
        return layers

    def _choose_engine(self, ids: Sequence[int], positions: Positions | None, head: int | None) -> InjectionEngine:
        if positions is None and head is None:
            return self.model.engine
        return self.model.build_engine(select_positions(positions, len(ids)), head)

    @cached_property
    def encoder(self) -> MemoryEncoder:
        """What turns memories into vectors."""
        return MemoryEncoder(self.model.engine, self.model.tokenizer, self.model.processed)

    def _encode_beside(
        self, memory: str, other: str | None, encoding: str, layer: int, draws: int, seed: int
    ) -> Float[Tensor, "injection d_model"]:
        """Return the vector of a memory and, if there is another, that one's and those of random directions."""
        check_draws(draws)
        memory = self.read_memory(memory, encoding)
        specs = [VectorSpec(CURATED, memory, 0, 0)]
        if other is not None:
            specs.append(VectorSpec(SHUFFLED, memory, 0, 0, source=self.read_memory(other, encoding)))
            specs += [VectorSpec(RANDOM, memory, 0, 0, seed=seed + draw) for draw in range(draws)]
        keys = [(encoding, spec.key) for spec in specs]
        return ControlEncoder(self.encoder).encode(keys, [layer]).vectors

    def _find_most_probable(self, engine: InjectionEngine, ids: Sequence[int]) -> int:
        """Return the next token that is most probable without a memory."""
        tokens, lengths = pad([ids], engine.device, CELL_PADDING[engine.device.type])
        return int(engine.clean(tokens, lengths, []).logits.argmax())

    def _compare_tokens(
        self, before: Float[Tensor, " vocab"], after: Float[Tensor, "injection vocab"], wanted: list[int], top_k: int
    ) -> pd.DataFrame:
        """Tabulate the most probable tokens without and with a memory, and the wanted ones (`Injection.table`).

        `after` has the log-probabilities with the memory and, behind them, with another one and with random directions,
        if there is another.
        """
        injected = after[0]
        likely = (log_probs.topk(min(top_k, len(log_probs))).indices for log_probs in (injected, before))
        tokens = torch.unique(torch.cat([*likely, torch.tensor(wanted, dtype=torch.long)]))
        tokens = tokens[injected[tokens].argsort(descending=True, stable=True)]
        table = pd.DataFrame({"token_id": tokens.numpy(), "token": self.decode_each(tokens.tolist())})
        for name, log_probs in (("obscure", before), ("injected", injected)):
            table[f"p_{name}"] = log_probs[tokens].exp().numpy()
            table[f"rank_{name}"] = (log_probs > log_probs[tokens, None]).sum(dim=1).numpy()
        table["percent_change"] = measure_change(table)
        if len(after) > 1:
            shuffled, *random = after[1:, tokens].exp()
            table["p_shuffled"] = shuffled.numpy()
            table["p_random"] = torch.stack(random).mean(dim=0).numpy()
        return table

    def decode_each(self, tokens: Iterable[int]) -> list[str]:
        """Return each token's text."""
        return [str(self.model.tokenizer.decode([token])) for token in tokens]

    def read_prompt(
        self, prompt: str, answer: str | None = None, n_new: int = 0, what: str = "prompt"
    ) -> tuple[Sequence[int], list[int]]:
        """Return the tokens that the model reads, and a list: the answer's token, or nothing without an answer.

        `what` is the name of the text in messages.
        """
        if not has_text(prompt):
            raise StudyError(f"the {what} is empty; give a text")
        prompt = _strip(what, prompt, strip_end)
        answer = None if answer is None else _strip("answer", answer, strip_ends)
        scored = None if answer is None else Prompt.tokenise(self.model.tokenizer, prompt, answer)
        ids = scored.tokens if scored else tokenise_prompt(self.model.tokenizer, prompt)
        self._check_context(what, ids, n_new)
        return ids, [scored.answer] if scored else []

    def _check_context(self, what: str, ids: Sequence[int], n_new: int = 0) -> None:
        """Raise `StudyError` if a text does not fit into the context with `n_new` tokens more."""
        n_ctx = self.model.engine.n_ctx
        if n_ctx is not None and len(ids) + n_new > n_ctx:
            new = f", and is to get {n_new} new ones" if n_new else ""
            raise StudyError(
                f"the {what} has {len(ids)} tokens, BOS included{new}, but the model takes {n_ctx}; shorten it"
            )

    def tokenise_answer(self, prompt: str, answer: str, what: str = "prompt") -> Prompt:
        """Return what the model reads, and the answer's token behind it."""
        ids, (token,) = self.read_prompt(prompt, answer, what=what)
        return Prompt(tuple(ids), token)

    def read_memory(self, memory: str, encoding: str) -> str:
        """Return the text of a memory that is encoded.

        Raises `StudyError` for a memory without text or too long for the model, and for an unknown encoding.
        """
        needs_pass = ENCODINGS[encoding].needs_pass
        if not has_text(memory):
            raise StudyError("the memory is empty; give a text")
        memory = _strip("memory", memory, strip_ends)
        tokenise_memory(self.model.tokenizer, memory)
        if needs_pass:
            self._check_context("memory", tokenise_prompt(self.model.tokenizer, memory))
        return memory


def check_draws(draws: int) -> None:
    """Raise `StudyError` for fewer than one draw."""
    if draws < 1:
        raise StudyError(f"draws is {draws}; give a whole number from 1")


def _strip(what: str, text: str, strip: Callable[[str], str]) -> str:
    """Strip a text, and warn if that changes it; a text without visible characters is returned as it is."""
    stripped = strip(text)
    if not stripped or stripped == text:
        return text
    n = len(text) - len(stripped)
    logger.warning("left out %d invisible character%s around the %s", n, "s" if n > 1 else "", what)
    return stripped


def _compute_next_tokens(
    engine: InjectionEngine,
    ids: Sequence[int],
    vectors: Float[Tensor, "injection d_model"],
    layer: int,
    magnitude: float,
) -> tuple[Float[Tensor, " vocab"], Float[Tensor, "injection vocab"]]:
    """Compute the next token's log-probabilities without an injection, and with each vector times `magnitude`.

    Raises `OverflowingInjectionError` if an injection overflows the model's arithmetic.
    """
    clean = engine.clean(*pad([ids], engine.device, CELL_PADDING[engine.device.type]), [layer])
    rows = torch.zeros(len(vectors), dtype=torch.long, device=engine.device)
    logits = engine.injected(clean, [layer] * len(vectors), rows, magnitude * vectors)
    check_overflow(logits, layer, magnitude)
    before, after = (values.log_softmax(dim=1).cpu() for values in (clean.logits, logits))
    return before[0], after
