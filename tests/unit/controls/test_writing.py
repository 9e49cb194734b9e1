"""Answers that are written under injections: at which sites, and with which vectors."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from bench import Bench, read_own_pairs
from memory_injections.controls.plan import PlannedPrompts, list_specs
from memory_injections.controls.settings import Controls
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.controls.writing import Writer, choose_writing_sites
from memory_injections.data.answers import ALIASES, list_answers
from memory_injections.injection.generation import count_new_tokens, decode_written, is_right, write_answers
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.models.tokenisation import PIECE, tokenise_memory, tokenise_prompt
from memory_injections.terms import AnswerPositions

pytestmark = pytest.mark.usefixtures("one_thread")
SITES = pd.DataFrame(
    [
        (7, "embed", True, 1, 0.1, 0.0, 0.6),
        (7, "unembed", True, 2, 0.3, 1.0, 0.4),
        (9, "unembed", True, 2, 0.3, 1.0, 1.0),
        (7, "unembed", False, 0, 4.0, 0.3, 0.0),
        (7, "unembed", False, 0, 5.0, 0.7, 0.0),
        (9, "unembed", False, 0, 4.0, 1.0, 0.0),
        (9, "layer", False, 1, 4.0, 1.0, 0.0),
        (9, "embed", False, 2, 4.0, 0.0, 1.0),  # not the paper's encoding
    ],
    columns=["prompt_id", "encoding", "relative", "layer", "magnitude", "weight", "weight_any"],
)


def test_answers_are_written_at_the_site_that_others_choose_most_often() -> None:
    found = choose_writing_sites(SITES)
    assert sorted(map(tuple, found.to_numpy().tolist())) == [
        (7, "any", "embed", True, 1, 0.1),
        (7, "unembed", "unembed", False, 0, 5.0),
        (9, "any", "unembed", True, 2, 0.3),
        (9, "layer", "layer", False, 1, 4.0),
        (9, "unembed", "unembed", False, 0, 4.0),
    ]
    assert choose_writing_sites(SITES.iloc[:0]).empty


@pytest.mark.parametrize("positions", ["prompt", "all"])
def test_what_is_written_is_what_the_vectors_make_the_model_write(
    positions: AnswerPositions, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    model, pairs = Bench(tiny_models["gpt2"], tmp_path).model, read_own_pairs(10)
    planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, model.engine.n_ctx)
    doses = pd.DataFrame([[5.0, 6.0, 7.0 + row] for row in range(10)])
    places = choose_writing_sites(SITES)
    specs = list_specs(planned, Controls(kinds=("shuffled",), shuffles=1), [], 0)
    expected, changed = [], 0
    for row in places.itertuples():
        pair, encoder = pairs.loc[row.prompt_id], model.build_encoder(False)
        tokens = list(tokenise_memory(model.tokenizer, pair["memory"]))
        if row.chosen_encoding == "layer":
            vector = encoder.encode([("layer", pair["memory"])], [row.layer]).vectors[0]
        else:
            of = model.processed.W_U.T if row.chosen_encoding == "unembed" else model.processed.W_E
            vector = of[tokens].sum(dim=0)
        if row.relative:
            vector = vector / model.processed.measure_lengths(vector[None])[0] * doses.loc[row.prompt_id, row.layer]
        vectors = (row.magnitude * vector)[None]
        expected.append(write_all(model, pair, [row.layer], vectors, positions))
        changed += expected[-1] != write_all(model, pair)
    assert changed > 1
    # What the model writes for one of the prompts is right, and written out.
    begun = json.dumps([text.split()[0] for text in expected])
    pairs[ALIASES] = [begun if row == 7 else "[]" for row in pairs["prompt_id"]]
    planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, model.engine.n_ctx)
    found = Writer(model, planned, {True: doses, False: 0 * doses + 1}, positions)
    found = found.write_under_injections(places, specs)
    assert len(found) == 2 * len(places)
    found = found[found["control"] == "curated"].merge(places.assign(expected=expected), validate="one_to_one")
    for row in found.itertuples():
        shorter, longer = sorted([row.expected.rstrip(PIECE), row.written.rstrip(PIECE)], key=len)
        assert longer.startswith(shorter)
        assert row.is_right == is_right(row.expected, list_answers(pairs.loc[row.prompt_id].to_dict()))
        assert not row.is_right or len(row.written.split()) > 1
    assert found["is_right"].sum() > 1


def write_all(model: LoadedModel, pair: pd.Series, *injected: Any) -> str:
    prompt = tokenise_prompt(model.tokenizer, pair["obscure_prompt"])
    return decode_written(model.tokenizer, prompt, write_answers(model.engine, [prompt], [40], *injected)[0])


def test_what_is_written_after_texts(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    model, pairs = Bench(tiny_models["gpt2"], tmp_path).model, read_own_pairs(3)
    planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, None)
    prompt = pairs.loc[0, "obscure_prompt"]
    ids = tokenise_prompt(model.tokenizer, prompt)
    text = decode_written(model.tokenizer, ids, write_answers(model.engine, [ids], [9])[0])
    assert torch.is_inference_mode_enabled() is False
    texts = pd.DataFrame({"prompt_id": 0, "text": ["a", "b"], "prompt": prompt, "answers": [["x"], [text.split()[0]]]})
    found = Writer(model, planned).write_after_texts(texts)
    assert found["written"].map(lambda written: text.startswith(written) or written.startswith(text)).all()
    assert found.loc[1, "is_right"]


def test_what_is_wrong_is_not_written_out(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    model, pairs = Bench(tiny_models["gpt2"], tmp_path).model, read_own_pairs(12)
    planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, model.engine.n_ctx)
    texts, writer = list_texts(planned), Writer(model, planned)
    texts = texts[texts["text"].isin(["obscure", "explicit"])].reset_index(drop=True)
    prompts = [tokenise_prompt(model.tokenizer, text) for text in texts["prompt"]]
    ids = write_answers(model.engine, prompts, [40] * len(prompts))
    texts["whole"] = [decode_written(model.tokenizer, *both) for both in zip(prompts, ids, strict=True)]
    # For some prompts, what is written is the answer.
    texts["answers"] = [
        [text.split()[0]] if row % 3 == 0 and text else answers
        for row, (text, answers) in enumerate(zip(texts["whole"], texts["answers"], strict=True))
    ]
    scored = score_texts(texts, model.engine, model.tokenizer)[["prompt_id", "text", "next_token_id"]]
    for known in (texts, texts.merge(scored)):  # the first token may be known
        found = writer.write_after_texts(known)
        assert found["is_right"].tolist() == [is_right(row.whole, row.answers) for row in found.itertuples()]
        assert found["is_right"].sum() > 3
        assert all(row.whole.startswith(row.written.rstrip(PIECE)) for row in found.itertuples())
        n_new = [count_new_tokens(model.tokenizer, answers) for answers in found["answers"]]
        lengths = [len(model.tokenizer(text)["input_ids"]) for text in found["written"]]
        assert sum(length < most - 2 for length, most in zip(lengths, n_new, strict=True)) > 3
