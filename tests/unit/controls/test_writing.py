"""Answers that are written under injections: at which sites, and with which vectors."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from bench import Bench, read_own_pairs
from memory_injections.controls.plan import PlannedPrompts, list_specs
from memory_injections.controls.settings import Controls
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.controls.writing import Writer, choose_writing_sites
from memory_injections.injection.generation import count_new_tokens, decode_written, is_right, write_answers
from memory_injections.models.tokenisation import tokenise_memory, tokenise_prompt
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
    writer = Writer(model, planned, {True: doses, False: 0 * doses + 1}, positions)
    places = choose_writing_sites(SITES)
    specs = list_specs(planned, Controls(kinds=("shuffled",), shuffles=1), [], 0)
    found = writer.write_under_injections(places, specs)
    assert len(found) == 2 * len(places)
    changed = 0
    for row in found[found["control"] == "curated"].itertuples():
        pair = pairs.iloc[row.prompt_id]
        encoder = model.build_encoder(False)
        tokens = list(tokenise_memory(model.tokenizer, pair["memory"]))
        if row.chosen_encoding == "layer":
            vector = encoder.encode([("layer", pair["memory"])], [row.layer]).vectors[0]
        else:
            of = model.processed.W_U.T if row.chosen_encoding == "unembed" else model.processed.W_E
            vector = of[tokens].sum(dim=0)
        if row.relative:
            vector = vector / model.processed.measure_lengths(vector[None])[0] * doses.loc[row.prompt_id, row.layer]
        prompt = tokenise_prompt(model.tokenizer, pair["obscure_prompt"])
        n_new = count_new_tokens(model.tokenizer, [pair["answer"]])
        vectors = (row.magnitude * vector)[None]
        (ids,) = write_answers(model.engine, [prompt], [n_new], [row.layer], vectors, positions)
        written = decode_written(model.tokenizer, prompt, ids[:n_new])
        assert row.written == written
        assert row.is_right == is_right(written, [pair["answer"]])
        untouched = write_answers(model.engine, [prompt], [n_new])[0]
        changed += written != decode_written(model.tokenizer, prompt, untouched)
    assert changed > 1


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


def test_what_is_wrong_from_its_first_token_on_is_not_written_out(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    model, pairs = Bench(tiny_models["gpt2"], tmp_path).model, read_own_pairs(12)
    planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, model.engine.n_ctx)
    texts, writer = list_texts(planned), Writer(model, planned)
    texts = texts[texts["text"].isin(["obscure", "explicit"])].reset_index(drop=True)
    whole = writer.write_after_texts(texts)
    # For some prompts, what is written is the answer.
    texts["answers"] = [
        [text.split()[0]] if row % 3 == 0 and text else answers
        for row, (text, answers) in enumerate(zip(whole["written"], texts["answers"], strict=True))
    ]
    whole = writer.write_after_texts(texts)
    scored = score_texts(texts, model.engine, model.tokenizer)[["prompt_id", "text", "next_token_id"]]
    both = writer.write_after_texts(texts.merge(scored)).merge(whole, on=["prompt_id", "text"], suffixes=("", "_whole"))
    assert both["is_right"].tolist() == both["is_right_whole"].tolist()
    assert both["is_right"].sum() > 3
    assert (both["written"].str.len() < both["written_whole"].str.len()).sum() > 3
