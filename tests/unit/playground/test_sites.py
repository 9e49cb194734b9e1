"""What the page shows is what the Python API says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from memory_injections import Injector, injecting
from memory_injections.errors import StudyError
from memory_injections.interactive.pretrained import CACHE_VARIABLE
from memory_injections.playground import sites
from memory_injections.playground.questions import (
    FAILS,
    HELPS,
    LOWERS,
    MAGNITUDES,
    SHUFFLED_MORE,
    SHUFFLED_TOO,
    WORKS,
    Example,
    Question,
    Site,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_map_comes_in_parts_and_is_the_sweep(injector: Injector, question: Question) -> None:
    parts = list(sites.sweep_layers(injector, question))
    assert [part["layer"].unique().tolist() for part in parts] == [[2], [1], [0]]
    found = pd.concat(parts).sort_values(["layer", "magnitude"], ignore_index=True)
    grid = injector.sweep(question.prompt, question.memory, magnitudes=MAGNITUDES, answer=question.answer).table
    for column in ("layer", "magnitude", "p_obscure", "p_injected", "rank_obscure", "rank_injected"):
        np.testing.assert_allclose(found[column], grid[column], rtol=1e-4)
    np.testing.assert_allclose(found["effect"], grid["logp_injected"] - grid["logp_obscure"], atol=1e-4)


def test_an_overflow_is_one_sentence(injector: Injector, question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MAGNITUDES", (1.0, 1e39))
    with pytest.raises(StudyError, match=r"magnitude 1e\+39 at layer 2 overflows"):
        list(sites.sweep_layers(injector, question))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " "}, "the prompt is empty; give a text"),
        ({"prompt": "of " * 100}, "the prompt has 102 tokens, BOS included, but the model takes 64; shorten it"),
        ({"memory": ""}, "the memory is empty; give a text"),
        ({"answer": ""}, "the answer '' has no token that carries text"),
        ({"shuffled": "\n"}, "shuffled memory: the memory is empty; give a text"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    change: dict[str, str], sentence: str, injector: Injector, question: Question
) -> None:
    sites.check_question(injector, question)
    with pytest.raises(StudyError, match=f"^{sentence}"):
        sites.check_question(injector, replace(question, **change))


def luminance(colour: str) -> float:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return float(
        np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    )


def test_colours_say_the_sign_and_stay_legible() -> None:
    page = (ROOT / "docs" / "playground.md").read_text(encoding="utf-8")
    assert f"the strongest stand for {sites.STRONGEST:g} nats or more" in page
    for effect in np.linspace(-20, 20, 401):
        dark, light = sorted(luminance(colour) for colour in sites.choose_colours(effect))
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    colours = [sites.choose_colours(effect)[0] for effect in (-9, -3, 0, 3, 9)]
    assert colours[:2] == [colours[0]] * 2
    assert colours[3:] == [colours[4]] * 2
    red, blue = int(colours[4][1:3], 16), int(colours[4][5:7], 16)
    assert red > 2 * blue
    assert luminance(colours[2]) > 0.9


def test_next_tokens(injector: Injector, question: Question) -> None:
    site = Site.of(1, 2.0, injector.n_layers)
    injection = injector.inject(
        question.prompt, question.memory, layer=1, magnitude=2.0, answer=question.answer, top_k=sites.N_TOKENS
    )
    answer = injection.answer
    assert answer is not None
    found = sites.compare_next_tokens(injector, question, question.memory, site)
    assert found.table["next token"].tolist() == [repr(token) for token in injection.table["token"]]
    np.testing.assert_allclose(found.table["after"].astype(float), injection.table["p_injected"], rtol=6e-3)
    ranks = injection.table[["rank_obscure", "rank_injected"]].to_numpy().tolist()
    assert found.table["rank"].tolist() == [
        f"{before}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{after}" for before, after in ranks
    ]
    assert injection.table["token_id"].iloc[found.answer_row] == answer["token_id"]
    effect = np.log(answer["p_injected"] / answer["p_obscure"])
    assert found.sentence.startswith(f"{answer['token']!r} goes from {answer['p_obscure']:.3g} (rank ")
    assert found.sentence.endswith(f": {effect:+.2f} nats.")


def test_heads_without_and_with_a_memory(injector: Injector, question: Question) -> None:
    site = Site.of(0, 8.0, injector.n_layers)
    assert site.heads_layer == 1
    found = sites.read_heads(injector, question, question.memory, site)
    assert found["head"].tolist() == ["0", "1", "2", "3"]
    with injecting(injector.model.process_weights(), 8.0 * injector.vector(question.memory), layer=0):
        expected = injector.heads(question.prompt, [1], sites.N_HEAD_TOKENS, answer=question.answer)
    assert [repr(token) for token in expected["token"][:3]] == found["after"][0].split("  ")
    assert (found["before"] != found["after"]).all()
    # The hook is gone, and the last layer's heads do not see what is injected there.
    last = sites.read_heads(injector, question, question.memory, Site.of(2, 8.0, injector.n_layers))
    assert last["before"].equals(last["after"])


def test_continuations(injector: Injector, question: Question) -> None:
    site = Site.of(1, 2.0, injector.n_layers)
    expected = injector.generate(question.prompt, question.shuffled, layer=1, magnitude=2.0)
    assert sites.continue_question(injector, question, question.shuffled, site) == expected


# What is true of the effects (nats) of the memory and of the shuffled one.
CLAIMS = {
    HELPS: lambda own, shuffled: own > 0.5 and own - shuffled > 0.5,
    SHUFFLED_TOO: lambda own, shuffled: own > 0.5 and 0 < own - shuffled < 0.5,
    SHUFFLED_MORE: lambda own, shuffled: 0 < own < shuffled,
    LOWERS: lambda own, shuffled: own < -0.5,
}


@pytest.fixture(scope="module")
def pretrained(default_model: Path) -> Injector:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(default_model))
        return Injector.load(device="cpu")


@pytest.mark.network
@pytest.mark.parametrize("example", [*WORKS, *FAILS], ids=lambda example: example.memory)
def test_an_example_shows_what_it_says(example: Example, pretrained: Injector) -> None:
    effects = []
    for memory in (example.memory, example.shuffled):
        injection = pretrained.inject(
            example.prompt, memory, layer=example.layer, magnitude=example.magnitude, answer=example.answer
        )
        assert injection.answer is not None
        effects.append(np.log(injection.answer["p_injected"] / injection.answer["p_obscure"]))
    assert CLAIMS[example.shows](*effects)
    assert (example.shows == HELPS) == (example in WORKS)
    assert example.magnitude in MAGNITUDES
