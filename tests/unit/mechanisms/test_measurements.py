"""Everything that is measured of injections agrees with TransformerLens' hooks, one prompt and one pass at a time."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from architectures import QUICK
from conftest import PAIRS
from memory_injections.activations.cache_file import ActivationCache, ActivationCacheWriter
from memory_injections.activations.recording import record_activations
from memory_injections.controls.kinds import CONTROLS, RANDOM, SHUFFLED, Draw
from memory_injections.errors import StudyError
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.mechanisms.measurements import Injections, draw_others, draw_prompts
from memory_injections.mechanisms.settings import OTHER, OWN, InjectionSite, Mechanisms
from memory_injections.mechanisms.side_effects import WINDOW, cut_windows
from memory_injections.models.tokenisation import tokenise_pairs
from memory_injections.terms import TARGETS
from slow_path import Model
from torch import Tensor
from transformers import PreTrainedTokenizerFast

pytestmark = pytest.mark.usefixtures("one_thread")
SEED = 3
SETTINGS = Mechanisms(prompts=2, others=2, texts=2, factors=(0.5, 1.0))
Hook = tuple[str, Callable[[Tensor, Any], Tensor]]


class Slow:
    """A model in the slow path, and its injections into some prompt pairs."""

    def __init__(self, folder: Path, pairs: pd.DataFrame, path: Path) -> None:
        self.model, self.pairs = Model(folder), pairs.reset_index(drop=True)
        model = self.model
        with ActivationCacheWriter(path, len(pairs), {"model": "tiny", "dataset": "own"}) as writer:
            writer.write(record_activations(model.bridge, model.tokenizer, self.pairs, bos=True))
        loaded = LoadedModel(model.engine, model.tokenizer, model.processed)
        self.injections = Injections(loaded, ActivationCache(path), self.pairs, SETTINGS, SEED)
        self.prompts = tokenise_pairs(model.tokenizer, self.pairs)
        # Long enough to change something, and not to swamp everything else.
        scale = model.slow_vector("unembed", self.pairs["memory"].iloc[0], 0).norm().item()
        self.site = InjectionSite("unembed", False, 1, 2 / scale)

    def run(self, kind: str, row: int, *hooks: Hook) -> Tensor:
        """Log-probabilities behind a prompt."""
        with torch.inference_mode():
            tokens = torch.tensor([list(self.prompts[kind][row].tokens)])
            return self.model.bridge.run_with_hooks(tokens, fwd_hooks=list(hooks))[0, -1].log_softmax(dim=-1)

    def inject(self, vector: Tensor, layer: int) -> Hook:
        return f"blocks.{layer}.hook_attn_out", lambda out, hook: out + vector

    def find_row(self, prompt_id: int) -> int:
        return self.pairs.index[self.pairs["prompt_id"] == prompt_id][0]


@pytest.fixture(scope="module", params=["gpt2", "gpt-j", "OLMo 2"])
def slow(
    request: pytest.FixtureRequest,
    tiny_models: dict[str, Path],
    tokenizer: PreTrainedTokenizerFast,
    pairs: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Slow:
    """Models with LayerNorm, with parallel blocks, and with a norm behind the attention."""
    folder = tmp_path_factory.mktemp("mechanisms")
    if request.param in tiny_models:
        return Slow(tiny_models[request.param], pairs, folder / "cache")
    QUICK[request.param].build().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return Slow(folder / "model", pairs, folder / "cache")


def find_shuffled(slow: Slow) -> pd.Series:
    """The memory of another prompt that the first draw of the registered control gives each prompt."""
    choose = CONTROLS[SHUFFLED].choose
    assert choose
    return choose(slow.pairs, Draw(SHUFFLED, 0, SEED, []))


def test_a_patched_head_is_one_with_the_other_prompts_output(slow: Slow) -> None:
    patches = pd.concat(map(slow.injections.patch_heads, slow.injections.draw_patched()))
    others = draw_others(slow.pairs, 1, SEED)
    assert set(patches["source"]) == {OWN, OTHER}
    assert patches["prompt_id"].nunique() == SETTINGS.prompts

    @cache
    def record(row: int) -> dict[str, Tensor]:
        with torch.inference_mode():
            tokens = torch.tensor([list(slow.prompts["explicit"][row].tokens)])
            return dict(slow.model.bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_z"))[1])

    for patch in patches.sample(12, random_state=0).to_dict("records"):
        row, layer, head = slow.find_row(patch["prompt_id"]), patch["layer"], patch["head"]
        name = f"blocks.{layer}.attn.hook_z"
        other = record(row if patch["source"] == OWN else int(others[row][0]))[name][0, -1, head]

        def put(z: Tensor, hook: Any, other: Tensor = other, head: int = head) -> Tensor:
            z = z.clone()
            z[:, -1, head] = other
            return z

        answer = slow.prompts["obscure"][row].answer
        expected = slow.run("obscure", row, (name, put))[answer] - slow.run("obscure", row)[answer]
        assert patch["effect"] == pytest.approx(expected.item(), abs=2e-4)
        gap = slow.run("explicit", row)[answer] - slow.run("obscure", row)[answer]
        assert patch["gap"] == pytest.approx(gap.item(), abs=2e-4)
        assert patch["gap"] > 0
    assert patches["effect"].abs().max() > 0.01


def test_only_prompts_with_a_gap_above_zero_are_patched(slow: Slow) -> None:
    gaps = [
        (slow.run("explicit", row) - slow.run("obscure", row))[prompt.answer].item()
        for row, prompt in enumerate(slow.prompts["obscure"])
    ]
    every = replace(slow.injections, settings=SETTINGS.model_copy(update={"prompts": len(gaps)}))
    assert every.draw_patched() == [row for row, gap in enumerate(gaps) if gap > 0]
    assert 0 < len(every.draw_patched()) < len(gaps)


def test_without_a_gap_above_zero_there_is_an_empty_table(slow: Slow) -> None:
    injections = replace(slow.injections)
    vars(injections)["gaps"] = -np.ones(len(slow.pairs))
    ((name, table),) = injections.measure([], "", lambda _, measure: measure())
    assert name == "patching"
    assert table.empty
    assert set(table) == {*slow.injections.patch_heads(0).columns}


def test_a_direct_effect_passes_the_norm_as_it_was(slow: Slow) -> None:
    cells = slow.pairs[["prompt_id"]].merge(pd.DataFrame({"layer": [0, 2]}), how="cross")
    shuffled = find_shuffled(slow)
    for encoding in ("unembed", "layer"):
        wanted = cells.assign(encoding=encoding, relative=False, magnitude=slow.site.magnitude, effect=0.0)
        found = slow.injections.split_effects(slow.site._replace(encoding=encoding), wanted)
        assert set(found.loc[found["control"] != "curated", "layer"]) == {slow.site.layer}
        own, random = found[found["control"] != RANDOM], found[found["control"] == RANDOM]
        assert (random["effect"] != 0).all()
        some = pd.concat([own.sample(6, random_state=0), own[own["control"] == SHUFFLED].head(3)])
        for cell in some.to_dict("records"):
            row = slow.find_row(cell["prompt_id"])
            memory = slow.pairs["memory"][row] if cell["control"] == "curated" else shuffled[cell["prompt_id"]]
            vector = slow.model.slow_vector(encoding, memory, cell["layer"])
            bridge, prompt = slow.model.bridge, slow.prompts["obscure"][row]
            with torch.inference_mode():
                _, kept = bridge.run_with_cache(torch.tensor([list(prompt.tokens)]))
                resid = kept[f"blocks.{bridge.cfg.n_layers - 1}.hook_resid_post"][0, -1]
                added = cell["magnitude"] * vector
                if slow.model.processed.is_centred:
                    resid, added = resid - resid.mean(), added - added.mean()
                # The norm multiplies each dimension by a number: what it did to the stream without the memory.
                normed = bridge.ln_final(resid[None, None])
                before, after = (
                    bridge.unembed(values)[0, 0].log_softmax(dim=0)[prompt.answer]
                    for values in (normed, normed + normed / resid * added)
                )
            assert before.item() == pytest.approx(slow.run("obscure", row)[prompt.answer].item(), abs=2e-4)
            assert cell["direct"] == pytest.approx((after - before).item(), abs=3e-4)
            if cell["control"] == SHUFFLED:
                injected = slow.run("obscure", row, slow.inject(cell["magnitude"] * vector, cell["layer"]))
                assert cell["effect"] == pytest.approx((injected[prompt.answer] - before).item(), abs=3e-4)
        assert found["direct"].abs().max() > 0.01


def test_later_blocks_say_what_the_lens_reads(slow: Slow) -> None:
    table = slow.injections.read_later_blocks(slow.site)
    bridge = slow.model.bridge
    assert set(table["block"]) == set(range(1, bridge.cfg.n_layers))
    assert len(table) == len(slow.pairs) * (bridge.cfg.n_layers - 1) * len(TARGETS) * 3
    shuffled = find_shuffled(slow)
    clean = table.groupby(["prompt_id", "block", "target"])[["logp_clean", "rank_clean"]].nunique()
    assert (clean == 1).all(axis=None)
    for cell in table[table["control"] != RANDOM].sample(15, random_state=0).to_dict("records"):
        row = slow.find_row(cell["prompt_id"])
        memory = slow.pairs["memory"][row] if cell["control"] == "curated" else shuffled[cell["prompt_id"]]
        vector = slow.site.magnitude * slow.model.slow_vector("unembed", memory, slow.site.layer)
        token = slow.injections.cache[f"{cell['target']}_id"][row].item()
        for state, hooks in (("clean", []), ("injected", [slow.inject(vector, slow.site.layer)])):
            kept: list[Tensor] = []
            keep = f"blocks.{cell['block']}.hook_resid_post", lambda out, hook, kept=kept: kept.append(out)
            slow.run("obscure", row, *hooks, keep)
            with torch.inference_mode():
                logits = bridge.unembed(bridge.ln_final(kept[0]))[0, -1]
            log_probs = logits.log_softmax(dim=0)
            assert cell[f"logp_{state}"] == pytest.approx(log_probs[token].item(), abs=3e-4)
            beaten_by = [(log_probs > log_probs[token] + margin).sum().item() for margin in (3e-4, -3e-4)]
            assert beaten_by[0] <= cell[f"rank_{state}"] <= beaten_by[1]
    assert (table["logp_injected"] - table["logp_clean"]).abs().max() > 0.01


def test_side_effects_are_those_of_other_memories(slow: Slow) -> None:
    cells = slow.injections.find_side_effects(slow.site)
    counts = cells.groupby(["prompt_id", "memories"]).size().unstack()
    assert (counts == [2, 4, 4]).all(axis=None)
    others = draw_others(slow.pairs, SETTINGS.others, SEED)
    for (prompt_id, magnitude), own in cells.groupby(["prompt_id", "magnitude"]):
        row = slow.find_row(prompt_id)
        answer, clean = slow.prompts["obscure"][row].answer, slow.run("obscure", row)
        found = own[own["memories"] != "random_direction"]
        expected = []
        for source in (row, *others[row].tolist()):
            vector = slow.model.slow_vector("unembed", slow.pairs["memory"][source], slow.site.layer)
            after = slow.run("obscure", row, slow.inject(magnitude * vector, slow.site.layer))
            expected.append((after[answer].item(), after.argmax().item() != clean.argmax().item()))
        np.testing.assert_allclose(found["logp_injected"], [logp for logp, _ in expected], atol=3e-4)
        assert found["is_top_changed"].tolist() == [is_changed for _, is_changed in expected]
    random = cells[cells["memories"] == "random_direction"]
    assert (random.groupby(["prompt_id", "magnitude"])["logp_injected"].nunique() == 2).all()


def test_zero_is_a_baseline_of_side_effects(slow: Slow) -> None:
    injections = replace(slow.injections, settings=SETTINGS.model_copy(update={"factors": (0.0, 1.0)}))
    cells = injections.find_side_effects(slow.site)
    nothing = cells[cells["magnitude"] == 0]
    assert len(nothing) == len(cells) / 2
    np.testing.assert_allclose(nothing["kl"], 0, atol=1e-6)
    assert not nothing["is_top_changed"].any()
    text = injections.read_text(slow.site, "The mill stood where the lane met the stream.")
    unchanged = text[text["magnitude"] == 0]
    np.testing.assert_allclose(unchanged["surprisal"], unchanged["surprisal_clean"], rtol=1e-5)
    # At a site of no magnitude all factors are one.
    nowhere = slow.site._replace(magnitude=0.0)
    assert len(injections.find_side_effects(nowhere)) == len(nothing)
    assert len(injections.read_text(nowhere, "The mill stood.")) == len(unchanged)


def test_a_text_is_read_in_windows_that_the_model_takes(slow: Slow) -> None:
    windows = cut_windows(slow.model.tokenizer, PAIRS.read_text(encoding="utf-8"), slow.model.engine.n_ctx)
    assert {len(window) for window in windows[:-1]} == {WINDOW + 1}
    short = cut_windows(slow.model.tokenizer, "The mill stood where the lane met the stream.", 4)
    assert {len(window) for window in short[:-1]} == {4}
    whole = cut_windows(slow.model.tokenizer, "The mill stood where the lane met the stream.", None)
    assert [token for window in short for token in window[1:]] == whole[0][1:]


def test_a_memory_that_the_model_has_no_room_for_is_one_sentence(slow: Slow) -> None:
    long = " ".join(["George Washington"] * 40)
    assert slow.injections.encoders[False].encode([("unembed", long)], [1]).vectors.shape == (1, 32)
    with pytest.raises(
        StudyError, match=r"the memory 'George .*' has \d+ tokens, BOS included, but the model takes 64; s"
    ):
        slow.injections.encoders[False].encode([("layer", "London"), ("layer", long)], [1])


def test_a_text_is_read_under_memories_and_directions(slow: Slow) -> None:
    table = slow.injections.read_text(slow.site, "The mill stood where the lane met the stream.")
    assert table.groupby(["memories", "magnitude"]).size().eq(SETTINGS.texts).all()
    assert table["surprisal_clean"].nunique() == 1
    assert (table["surprisal"] != table["surprisal_clean"]).all()


def test_other_pairs_have_another_memory_and_another_answer() -> None:
    names = ["a", "a", "b", "B ", "c"]
    pairs = pd.DataFrame({"memory": names, "answer": ["x", "y", "z", "z", "x"]})
    drawn = draw_others(pairs, 4, seed=0)
    assert [sorted(rows.tolist()) for rows in drawn] == [[2, 3], [2, 3, 4], [0, 1, 4], [0, 1, 4], [1, 2, 3]]
    again = draw_others(pairs.iloc[:5], 1, seed=0)
    assert all(rows[0] == first[0] for rows, first in zip(drawn, again, strict=True))
    assert draw_others(pairs.iloc[2:4].reset_index(drop=True), 1, seed=0)[0].size == 0


def test_drawn_prompts_are_some_or_all() -> None:
    assert draw_prompts(5, 9, seed=1).tolist() == [0, 1, 2, 3, 4]
    some = draw_prompts(100, 10, seed=1)
    assert len(set(some.tolist())) == 10
    assert (np.diff(some) > 0).all()
    assert (draw_prompts(100, 10, seed=2) != some).any()
