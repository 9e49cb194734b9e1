"""Everything that is measured of the injections of one model on one data set, as tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from memory_injections.activations.cache_file import ActivationCache, measure_residual_norms
from memory_injections.analysis.averages import measure_effect
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import COLUMNS, SweepEffects
from memory_injections.controls.kinds import RANDOM, SHUFFLED
from memory_injections.controls.plan import PlannedPrompts, list_specs
from memory_injections.controls.settings import Controls
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.data.entities import identify_entity
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.injection.memory_vectors import Encoder, MemoryEncoder
from memory_injections.mechanisms.direct_effects import measure_direct_effects
from memory_injections.mechanisms.logit_lens import read_blocks
from memory_injections.mechanisms.patching import patch_prompt, tabulate_patches
from memory_injections.mechanisms.settings import COMPARED, InjectionSite, Mechanisms
from memory_injections.mechanisms.side_effects import (
    build_random_spec,
    cut_windows,
    measure_side_effects,
    measure_surprisal,
    plan_side_effects,
    scale_magnitude,
)
from memory_injections.models.tokenisation import Prompt, tokenise_pairs
from memory_injections.sweeps.cells import index_sweeps, read_cells
from memory_injections.terms import CURATED, FIRST_TOKEN, TARGETS, Outcome


def choose_site(sweep: SweepEffects, encoding: str, relative: bool = False) -> InjectionSite:
    """Return the site that a sweep of curated memories is looked at: the one chosen most often on other prompts."""
    most = sweep.name_chosen()
    return InjectionSite(encoding, relative, int(most["layer"]), float(most["magnitude"]))


def list_effects(sweep: SweepEffects, site: InjectionSite) -> pd.DataFrame:
    """List the effects, in nats, of every layer of a sweep at the magnitude of a site.

    Columns: prompt_id, encoding, relative, layer, magnitude, effect.
    """
    is_here = sweep.frame.columns.get_level_values("magnitude") == site.magnitude
    table = sweep.frame.loc[:, is_here].melt(ignore_index=False, value_name="effect").reset_index()
    return table.assign(encoding=site.encoding, relative=site.relative)


def draw_prompts(n_prompts: int, n_drawn: int, seed: int) -> Int[np.ndarray, " drawn"]:
    """Draw some rows of a table of prompt pairs, in ascending order; all of them if there are no more."""
    return np.sort(np.random.default_rng(seed).permutation(n_prompts)[:n_drawn])


def draw_others(pairs: pd.DataFrame, n_drawn: int, seed: int) -> list[Int[np.ndarray, " drawn"]]:
    """Draw, for each pair, rows of other pairs that have neither its memory nor its answer; fewer if there are fewer.

    What is drawn for a pair depends on the seed, its row and the table alone.
    """
    memories, answers = (pairs[name].map(identify_entity).to_numpy() for name in ("memory", "answer"))
    drawn = []
    for row in range(len(pairs)):
        others = np.flatnonzero((memories != memories[row]) & (answers != answers[row]))
        drawn.append(np.random.default_rng([seed, row]).permutation(others)[:n_drawn])
    return drawn


@dataclass(frozen=True)
class Injections:
    """The injections of a model on a data set: the model, and the prompt pairs with their activation cache.

    Sites are those that the effects on the `outcome` choose.
    """

    model: LoadedModel
    cache: ActivationCache
    pairs: pd.DataFrame
    settings: Mechanisms
    seed: int
    outcome: Outcome = FIRST_TOKEN

    @cached_property
    def prompts(self) -> list[Prompt]:
        """The obscure prompts."""
        return tokenise_pairs(self.model.tokenizer, self.pairs)["obscure"]

    @cached_property
    def encoders(self) -> dict[bool, MemoryEncoder]:
        """An encoder for magnitudes that are factors, and one for relative doses."""
        return {is_relative: self.model.build_encoder(is_relative) for is_relative in (False, True)}

    def measure_scale(self, site: InjectionSite) -> Float[Tensor, "prompt 1"]:
        """Return what a site's magnitude is multiplied by for each prompt: with doses, its residual stream's length."""
        if not site.relative:
            return torch.ones(len(self.pairs), 1)
        return measure_residual_norms(self.cache, self.model.processed)[:, site.layer, None]

    @cached_property
    def specs(self) -> pd.DataFrame:
        """What is injected into each prompt: prompt_id, control (`curated` first) and memory, the key of a spec."""
        planned = PlannedPrompts.of_pairs(self.pairs, self.model.tokenizer, self.model.engine.n_ctx)
        specs = list_specs(planned, Controls(kinds=COMPARED, draws=1, shuffles=1), [], self.seed)
        memories = specs["prompt_id"].map(self.pairs.set_index("prompt_id")["memory"])
        parts = zip(specs["control"], memories, specs["source"], specs["answer"], specs["seed"], strict=True)
        keys = [VectorSpec(control, memory, 0, 0, *rest).key for control, memory, *rest in parts]
        return specs[["prompt_id", "control"]].assign(memory=keys)

    @cached_property
    def gaps(self) -> Float[np.ndarray, " prompt"]:
        """How much more probable each answer is after the explicit prompt than after the obscure one, in nats."""
        with np.errstate(divide="ignore"):
            obscure, explicit = (
                np.log(self.cache.read_array(f"{kind}.p_answer").astype("float64")) for kind in ("obscure", "explicit")
            )
        return measure_effect(pd.DataFrame({"logp_obscure": obscure, "logp_injected": explicit})).to_numpy()

    def measure(
        self, curated: Sequence[Path], text: str, keep: Callable[[str, Callable[[], pd.DataFrame]], pd.DataFrame]
    ) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield what is measured, by name: the heads of some prompts, the rest at the site of every curated sweep.

        `keep` returns the table that a function measures, or one that it has kept under its name.
        """
        patched = self.draw_patched()
        for row in tqdm(patched, desc="patching", unit="prompt"):
            yield "patching", keep(f"patching.{row}", partial(self.patch_heads, row))
        if not patched:
            yield "patching", self._name_gap(tabulate_patches(torch.empty(0, 1, 1), 0), np.nan)
        groups = cluster_prompts(self.pairs)
        for sweep, path in index_sweeps(curated).items():
            effects = SweepEffects.of_cells(read_cells(path, COLUMNS, self.outcome), groups, self.seed)
            site = choose_site(effects, sweep.encoding, sweep.relative)
            measures = {
                "direct_effects": partial(self.split_effects, site, list_effects(effects, site)),
                "logit_lens": partial(self.read_later_blocks, site),
                "side_effects": partial(self.find_side_effects, site),
                "texts": partial(self.read_text, site, text),
            }
            for name, measure in measures.items():
                yield name, keep(f"{name}.{sweep.coding}", measure)

    def draw_patched(self) -> list[int]:
        """Draw the rows of the prompts whose heads are patched, of those with a gap above zero to explain."""
        positive = np.flatnonzero(self.gaps > 0)
        return positive[draw_prompts(len(positive), self.settings.prompts, self.seed)].tolist()

    def patch_heads(self, row: int) -> pd.DataFrame:
        """Patch every head of the prompt in a row; see `patching.tabulate_patches`.

        The column gap is what there is to explain: how much more probable the answer is after the explicit prompt, in
        nats; n_positive, the number of prompts with a gap above zero, which the patched ones are drawn from.
        """
        others = draw_others(self.pairs, 1, self.seed)[row]
        effects = patch_prompt(
            self.model.engine, self.model.processed, self.cache, self.prompts[row], row, [row, *others.tolist()]
        )
        return self._name_gap(tabulate_patches(effects, int(self.pairs["prompt_id"].iloc[row])), self.gaps[row])

    def _name_gap(self, patches: pd.DataFrame, gap: float) -> pd.DataFrame:
        return patches.assign(gap=gap, n_positive=int((self.gaps > 0).sum()))

    def split_effects(self, site: InjectionSite, effects: pd.DataFrame) -> pd.DataFrame:
        """Return the direct part of the effects of a site's sweep, and of the controls' effects at the site.

        Columns: those of `effects`, control and direct; see `direct_effects.measure_direct_effects`.
        """
        curated = effects.assign(control=CURATED).merge(self.specs, on=["prompt_id", "control"])
        cells = pd.concat([curated, self.compute_controls(site)], ignore_index=True)
        encoder = ControlEncoder(self.encoders[site.relative])
        found = measure_direct_effects(self.model.engine, encoder, self.cache, self.pairs, cells)
        return found.drop(columns="memory")

    def compute_controls(self, site: InjectionSite) -> pd.DataFrame:
        """Compute the effects of the controls at a site: prompt_id, control, memory, those of the site, and effect."""
        specs = self.specs[self.specs["control"] != CURATED]
        cells = specs.assign(prompt=specs["prompt_id"], **site._asdict())
        computer = CellComputer(self.model.engine, ControlEncoder(self.encoders[site.relative]))
        scored = pd.concat(computer.compute(cells, self._prompts_by_id))
        return scored.assign(effect=measure_effect(scored))[[*specs, *site._fields, "effect"]]

    def read_later_blocks(self, site: InjectionSite) -> pd.DataFrame:
        """Read answer and memory behind every block from a site on, under each control; see `logit_lens.read_blocks`.

        The targets are the prompt's own, whatever is injected. A prompt without a control has no rows of it.
        """
        encoded = self._encode(ControlEncoder(self.encoders[site.relative]), site, self.specs["memory"])
        row = torch.tensor(self._find_rows(self.specs["prompt_id"]))
        encoded = site.magnitude * self.measure_scale(site)[row].to(encoded) * encoded
        vectors = {}
        for control in self.specs["control"].unique():
            here = torch.tensor((self.specs["control"] == control).to_numpy())
            vectors[control] = encoded.new_zeros(len(self.pairs), encoded.shape[1])
            vectors[control][row[here]] = encoded[here]
        targets = {name: self.cache[f"{name}_id"] for name in TARGETS}
        table = read_blocks(self.model.engine, self.prompts, site.layer, vectors, targets)
        table.insert(0, "prompt_id", self.pairs["prompt_id"].to_numpy()[table["prompt"]])
        table = table.merge(self.specs[["prompt_id", "control"]])
        return table.drop(columns="prompt").assign(**site._asdict())

    def find_side_effects(self, site: InjectionSite) -> pd.DataFrame:
        """Inject every prompt's memory into other prompts; see `side_effects.measure_side_effects`."""
        others = draw_others(self.pairs, self.settings.others, self.seed)
        cells = plan_side_effects(self.pairs, others, site, self.settings.factors)
        computer = CellComputer(self.model.engine, ControlEncoder(self.encoders[site.relative]))
        found = measure_side_effects(computer, cells, self._prompts_by_id)
        return found.drop(columns="memory").rename(columns={"prompt": "prompt_id"})

    def read_text(self, site: InjectionSite, text: str) -> pd.DataFrame:
        """Read a neutral text under some memories, and under random directions of their lengths.

        Columns: encoding, relative, layer, magnitude, memories (`shuffled`: any memory is another's to this text), and
        surprisal, in nats a token, with surprisal_clean.
        """
        rows = draw_prompts(len(self.pairs), self.settings.texts, self.seed).tolist()
        memories = self.pairs["memory"].iloc[rows].tolist()
        specs = {
            SHUFFLED: [VectorSpec(CURATED, memory, 0, 0).key for memory in memories],
            RANDOM: [build_random_spec(memory, self.seed + row) for row, memory in zip(rows, memories, strict=True)],
        }
        magnitudes = scale_magnitude(site, self.settings.factors)
        index = pd.DataFrame(
            [(kind, key, magnitude) for kind, keys in specs.items() for key in keys for magnitude in magnitudes],
            columns=["memories", "key", "magnitude"],
        )
        vectors = self._encode(ControlEncoder(self.encoders[site.relative]), site, index["key"])
        # A dose is that of the memory's own prompt.
        scale = self.measure_scale(site)[rows].repeat_interleave(len(magnitudes), dim=0).repeat(len(specs), 1)
        vectors = vectors * scale.to(vectors) * torch.tensor(index["magnitude"].to_numpy()).to(vectors)[:, None]
        surprisal = measure_surprisal(
            self.model.engine,
            cut_windows(self.model.tokenizer, text, self.model.engine.n_ctx),
            site.layer,
            torch.cat([torch.zeros_like(vectors[:1]), vectors]),
        ).cpu()
        return index.drop(columns="key").assign(
            encoding=site.encoding, relative=site.relative, layer=site.layer, surprisal=surprisal[1:].numpy(),
            surprisal_clean=surprisal[0].item(),
        )  # fmt: skip

    @cached_property
    def _prompts_by_id(self) -> dict[int, Prompt]:
        return dict(zip(self.pairs["prompt_id"], self.prompts, strict=True))

    def _find_rows(self, prompt_ids: pd.Series) -> Int[np.ndarray, " row"]:
        return pd.Series(range(len(self.pairs)), index=self.pairs["prompt_id"]).loc[prompt_ids].to_numpy()

    def _encode(
        self, encoder: Encoder, site: InjectionSite, memories: Sequence[str]
    ) -> Float[Tensor, "memory d_model"]:
        """Return a vector for each memory, or spec, in the encoding of a site and at its layer."""
        encoded = encoder.encode([(site.encoding, memory) for memory in memories], [site.layer])
        numbers = np.arange(len(memories))
        return encoded.vectors[encoded.find_rows(numbers, np.full(len(memories), site.layer))]
