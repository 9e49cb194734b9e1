"""The untrained twin of a model: its architecture and tokenizer, and weights that depend on the seed alone."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from memory_injections.config.study import Study, parse_study
from memory_injections.models.sources import LocalModel, UntrainedModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

CONFIG = {
    "study": "mine",
    "models": {"m": {"source": "local", "path": "m"}},
    "datasets": {"p": {"source": "file", "path": "p.csv"}},
}


def fetch(like: Path, folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    folder.mkdir()
    source = UntrainedModel(source="untrained", like=LocalModel(source="local", path=str(like)), seed=seed)
    manifest = source.fetch(folder)
    assert manifest["source"]["like"]["path"] == str(like)
    assert manifest["revision"] is None  # so it is never taken for the paper's model
    assert manifest["like"] == {
        "revision": None,
        "config.json": sha256((like / "config.json").read_bytes()).hexdigest(),
    }
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_twin_has_the_form_of_its_model_and_none_of_its_weights(
    name: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    model = tiny_models[name]
    before = torch.random.get_rng_state()
    first, again, other = (fetch(model, tmp_path / str(i), seed) for i, seed in enumerate((3, 3, 4)))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = load_file(model / "model.safetensors")
    assert {key: values.shape for key, values in first.items()} == {key: value.shape for key, value in weights.items()}
    drawn = [key for key in first if first[key].std() > 0]
    assert drawn
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) or torch.equal(first[key], weights[key]) for key in drawn)
    assert AutoConfig.from_pretrained(tmp_path / "0").vocab_size == AutoConfig.from_pretrained(model).vocab_size
    text = "George Washington"
    assert AutoTokenizer.from_pretrained(tmp_path / "0")(text) == AutoTokenizer.from_pretrained(model)(text)


def test_every_model_of_a_study_gets_a_twin_once() -> None:
    study = parse_study(CONFIG | {"twin": True, "shards": {"m": 2}})
    assert list(study.models) == ["m", "m-untrained"]
    assert study.count_shards("m-untrained") == 2
    assert parse_study(study.model_dump(mode="json")) == study
    assert list(parse_study(CONFIG).models) == ["m"]
    assert not Study.model_fields["twin"].default
