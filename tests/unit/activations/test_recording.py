"""The activation cache has what a model computes, in every family."""

from pathlib import Path

import pytest
import torch
from architectures import OTHERS, QUICK, Family
from conftest import PAIRS
from memory_injections.activations.recording import record_activations
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.injection.skipping_engine import SkippingEngine
from memory_injections.mechanisms.residuals import read_out
from memory_injections.models.loading import load_bridge
from slow_path import CPU
from transformers import PreTrainedTokenizerFast

pytestmark = pytest.mark.usefixtures("one_thread")
each_family = pytest.mark.parametrize(
    "family", [*QUICK.values(), *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS.values())],
    ids=[*QUICK, *OTHERS],
)  # fmt: skip


@each_family
def test_the_last_stream_says_what_the_model_says(
    family: Family, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = family.build()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pairs = normalise_pairs(read_csv(PAIRS), "own").head(2)
    recorded = record_activations(load_bridge(tmp_path, CPU), tokenizer, pairs, bos=True)
    resid = recorded["obscure.resid"]
    assert resid.shape == (2, len(SkippingEngine(model).components.blocks) + 1, 32)
    said = read_out(SkippingEngine(model), resid[:, -1]).softmax(dim=1)
    answers = said.gather(1, recorded["answer_id"][:, None])[:, 0]
    torch.testing.assert_close(recorded["obscure.p_answer"], answers, rtol=1e-3, atol=0)
