"""A relative dose is the length of what is injected, as a share of the residual stream's."""

from pathlib import Path

import numpy as np
import pytest
from bench import LAYERS, Bench, read_own_pairs, sweep
from memory_injections.activations.cache_file import ActivationCache, measure_residual_norms
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.models.tokenisation import Prompt
from slow_path import Model

DOSES = [-0.2, 0.0, 0.5]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["gpt2", "llama"])
def bench(request: pytest.FixtureRequest, tiny_models: dict[str, Path], tmp_path: Path) -> Bench:
    return Bench(tiny_models[request.param], tmp_path)


def measure_slowly(model: Model) -> list[list[float]]:
    """The length of the residual stream before each block at the end of the obscure prompts, one by one."""
    norms = []
    for pair in read_own_pairs(12).to_dict("records"):
        prompt = Prompt.tokenise(model.tokenizer, pair["obscure_prompt"], pair["answer"])
        norms.append([model.slow_residual(list(prompt.tokens), layer).norm().item() for layer in LAYERS])
    return norms


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cells_equal_full_passes_with_vectors_of_that_length(bench: Bench, encoding: str) -> None:
    model, pairs = Model(bench.folder_of_model), read_own_pairs(12)
    norms = measure_slowly(model)
    np.testing.assert_allclose(
        measure_residual_norms(ActivationCache(bench.folder / "cache"), bench.model.processed), norms, rtol=1e-4
    )
    cells, _, _ = bench.run(sweep(encoding=encoding, magnitudes=DOSES, relative=True))
    assert sorted(cells["magnitude"].unique()) == DOSES
    for cell in cells.sample(8, random_state=0).itertuples():
        pair = pairs.loc[cell.prompt_id]
        prompt = Prompt.tokenise(model.tokenizer, pair["obscure_prompt"], pair["answer"])
        vector = model.slow_vector(encoding, pair["memory"], cell.layer)
        vector = cell.magnitude * norms[cell.prompt_id][cell.layer] * vector / vector.norm()
        slow = model.slow_log_probs(list(prompt.tokens), cell.layer, vector)
        assert cell.logp_injected == pytest.approx(slow[prompt.answer].item(), abs=1e-3)


def test_relative_cells_are_found_again(bench: Bench) -> None:
    relative = sweep(magnitudes=DOSES, relative=True)
    assert bench.run(relative)[1:] == (0, 12 * 3 * 3)
    assert bench.run(relative)[1:] == (12 * 3 * 3, 0)
    assert bench.run(sweep(magnitudes=DOSES))[1:] == (0, 12 * 3 * 3)
