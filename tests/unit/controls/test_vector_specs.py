"""Every control's cells agree with full passes of one prompt at a time, with vectors made here from its definition."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from memory_injections.controls.experiment import run_controls
from memory_injections.controls.kinds import CONTROLS
from memory_injections.controls.plan import PlannedPrompts, list_specs, plan_controls
from memory_injections.controls.settings import AT_DOSES, Controls
from memory_injections.controls.sites import CHOSEN
from memory_injections.controls.vector_specs import ControlEncoder, VectorSpec
from memory_injections.injection.memory_vectors import MemoryEncoder
from memory_injections.sweeps.store import CellStore
from slow_path import Model

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = ["river", "stone"]
ASKED = Controls(doses=(0.3,))


@pytest.fixture(scope="module", params=["gpt2", "gpt-neox", "llama"])
def model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Model:
    return Model(tiny_models[request.param])


@pytest.fixture(scope="module")
def planned(model: Model, pairs: pd.DataFrame) -> PlannedPrompts:
    pairs = pairs.iloc[:4].assign(entity=["the sea", "", "Peru", "Atlantis"])
    return PlannedPrompts.of_pairs(pairs, model.tokenizer, None)


@pytest.fixture(scope="module")
def cells(model: Model, planned: PlannedPrompts, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All cells of the controls at one site for each of two encodings, with doses and positions."""
    scale = 2 / model.slow_vector("unembed", planned.pairs["memory"].iloc[0], 0).norm().item()
    sites = pd.DataFrame({"prompt_id": planned.pairs["prompt_id"], "name": CHOSEN}).merge(
        pd.DataFrame({"encoding": ["unembed", "layer"], "relative": False, "layer": [1, 0], "magnitude": [scale, 0.5]}),
        how="cross",
    )
    plan = plan_controls(sites, planned, list_specs(planned, ASKED, WORDS, 0), ASKED, model.tokenizer)
    found: list[pd.DataFrame] = []
    for relative, part in plan.groupby("relative"):
        encoder = MemoryEncoder(model.engine, model.tokenizer, model.processed, bool(relative))
        computer = model.build_computer(model.engine)
        computer.encoder = ControlEncoder(encoder)
        with CellStore(tmp_path_factory.mktemp("store"), {}) as store:
            found += run_controls(part, planned, computer, store)
    return pd.concat(found, ignore_index=True)


def build_vector(model: Model, planned: PlannedPrompts, cell: pd.Series, spec: VectorSpec) -> torch.Tensor:
    """The vector of a control, by its definition, in the coordinates of the processed weights."""

    def encode(text: str) -> torch.Tensor:
        vector = model.slow_vector(cell["encoding"], text, cell["layer"])
        return vector * length / vector.norm() if cell["relative"] else vector

    own = planned.pairs.set_index("prompt_id").loc[cell["prompt_id"]]
    length = model.slow_residual(list(planned.prompts[cell["prompt_id"]].tokens), cell["layer"]).norm()
    memory = encode(own["memory"])
    answer = model.bridge.W_U[:, planned.prompts[cell["prompt_id"]].answer].detach()
    others = set(planned.pairs["memory"]) - {own["memory"]}
    match cell["control"]:
        case "curated":
            return memory
        case "opposite":
            return -memory
        case "answer":
            return answer * memory.norm() / answer.norm()
        case "without_answer":
            return memory - answer * (memory @ answer) / (answer @ answer)
        case "other_entity":
            return encode(own["entity"])
        case "shuffled":
            assert spec.source in others
            return encode(spec.source)
        case "matched_words":
            assert spec.source in WORDS
            word = encode(spec.source)
            return word * memory.norm() / word.norm()
        case "random_direction":
            noise = torch.randn(len(memory), generator=torch.Generator().manual_seed(spec.seed))
            if str(model.bridge.cfg.normalization_type).startswith("LN"):
                noise -= noise.mean()
            return noise * memory.norm() / noise.norm()
    raise AssertionError(cell["control"])


def test_every_control_equals_full_passes_one_by_one(
    model: Model, planned: PlannedPrompts, cells: pd.DataFrame
) -> None:
    assert set(cells["control"]) == {"curated", *(name for name, control in CONTROLS.items() if control.build)}
    # As planned, but for the one prompt whose description has no entity, at two sites.
    assert len(cells) == 4 * 2 * ASKED.count_cells(n_sites=1, n_prompts=4) - 2
    assert not cells["logp_injected"].isna().any()
    sample = cells.groupby(["encoding", "relative", "control", "positions", "part"]).sample(1, random_state=0)
    moved = 0
    for _, cell in sample.iterrows():
        prompt = planned.prompts[cell["prompt_id"]]
        vectors = torch.zeros(len(prompt.tokens), model.processed.W_U.shape[0])
        vector = build_vector(model, planned, cell, VectorSpec.from_key(cell["memory"]))
        vectors[cell["start"] : cell["stop"]] = cell["magnitude"] * vector
        slow = model.slow_log_probs(list(prompt.tokens), cell["layer"], vectors)[prompt.answer].item()
        assert cell["logp_injected"] == pytest.approx(slow, abs=2e-4), cell["control"]
        moved += abs(cell["logp_injected"] - cell["logp_obscure"]) > 1e-3
    assert moved > 0.8 * len(sample)


def test_what_is_drawn_differs_between_prompts_and_draws_and_keeps_the_length(
    model: Model, planned: PlannedPrompts, cells: pd.DataFrame
) -> None:
    here = cells[(cells["encoding"] == "unembed") & (cells["part"] != AT_DOSES) & (cells["positions"] == "all")]
    keys = here.groupby("control")["memory"].apply(lambda memories: list(dict.fromkeys(memories)))
    encoder = ControlEncoder(MemoryEncoder(model.engine, model.tokenizer, model.processed))
    noise = encoder.encode([("unembed", key) for key in keys["random_direction"]], [1]).vectors
    assert len(torch.unique(noise, dim=0)) == len(noise) == 4 * 2
    for control in ("random_direction", "matched_words", "answer", "opposite"):
        lengths = encoder.encode([("unembed", key) for key in keys[control]], [1]).vectors.norm(dim=1)
        own = [model.slow_vector("unembed", VectorSpec.from_key(key).memory, 1).norm() for key in keys[control]]
        torch.testing.assert_close(lengths, torch.stack(own), rtol=1e-4, atol=1e-4)
    assert here.loc[here["control"] == "other_entity", "prompt_id"].nunique() == 3


def test_spans_are_the_positions_that_they_name(model: Model, planned: PlannedPrompts, cells: pd.DataFrame) -> None:
    for (prompt_id, positions), own in cells.groupby(["prompt_id", "positions"]):
        tokens = planned.prompts[prompt_id].tokens
        start, stop = own[["start", "stop"]].drop_duplicates().iloc[0]
        expected = {"all": (0, len(tokens)), "without_bos": (1, len(tokens)), "last": (len(tokens) - 1, len(tokens))}
        if positions == "description":
            description = planned.descriptions[prompt_id]
            assert description is not None
            assert str(model.tokenizer.decode(list(tokens[start:stop]))).strip() == description.text
        else:
            assert (start, stop) == expected[str(positions)]


def test_a_control_with_one_vector_for_all_layers(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the memory has a vector for each layer, each is this one, and no other cell's vector moves."""
    control = replace(CONTROLS["answer"], build=lambda parts: parts.answer[None])
    monkeypatch.setitem(CONTROLS._declared, "answer", control)
    specs = [VectorSpec("answer", "Karl Marx", 0, 3, answer=7), VectorSpec("curated", "Inca", 0, 3)]
    encoder = MemoryEncoder(model.engine, model.tokenizer, model.processed)
    encoded = ControlEncoder(encoder).encode([("layer", spec.key) for spec in specs], [0, 1, 2])
    expected = [model.processed.W_U[:, 7]] * 3 + [model.slow_vector("layer", "Inca", layer) for layer in range(3)]
    centred = [vector - vector.mean() for vector in expected] if model.processed.is_centred else expected
    torch.testing.assert_close(encoded.vectors[:3], torch.stack(expected[:3]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoded.vectors[3:], torch.stack(centred[3:]), rtol=1e-4, atol=1e-4)
