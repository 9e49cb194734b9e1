"""The playground in a browser, served by the command line to a tiny model."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest
import requests
from memory_injections import Injector
from memory_injections.playground import sites
from memory_injections.playground.questions import MAGNITUDES, Question, Site, write_commands, write_python

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROMPT, MEMORY, ANSWER, SHUFFLED = "The author of Das Kapital lies in the city of", "Karl Marx", "London", "Nile"
FILLED = "document.querySelector('.map') && !document.querySelector('.map button[disabled]')"
pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Server:
    """A running playground: its address and its model."""

    address: str
    model: str
    injector: Injector

    def ask(self, **changes: str) -> Question:
        texts = {"prompt": PROMPT, "memory": MEMORY, "answer": ANSWER, "shuffled": SHUFFLED, "model": self.model}
        return Question(**(texts | changes))


@pytest.fixture(scope="module")
def server(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The command `memory-injections playground`, which ends quietly when it is interrupted and leaves no file."""
    folder, model = tmp_path_factory.mktemp("here"), str(tiny_models["gpt2"])
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = [sys.executable, "-m", "memory_injections.command_line.cli", "playground", "--model", model]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"], text=True, cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**environment, "OMP_NUM_THREADS": "1"},  # NiceGUI does otherwise in a test
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline()
    address = re.fullmatch(r"The playground is at (http://127\.0\.0\.1:\d+) \(Ctrl\+C ends it\)\.\n", said)
    if address is None:
        process.kill()
        pytest.fail(f"{said}{process.communicate()}")
    yield Server(address[1], model, Injector.load(model, "cpu"))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (stdout, stderr) == ("", f"loading {model}\n")
    assert process.returncode in (0, 130)
    assert not any(folder.iterdir())


@pytest.fixture
def page(browser: "Browser", server: Server) -> Iterator["Page"]:
    """A tab at the playground that must report no errors and request nothing from anywhere else."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(20000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    local = (server.address, server.address.replace("http", "ws"), "data:", "blob:")
    page.on("request", lambda each: None if each.url.startswith(local) else problems.append(each.url))
    page.on("websocket", lambda each: None if each.url.startswith(local) else problems.append(each.url))
    page.goto(server.address)
    yield page
    page.close()
    assert not problems


def ask(page: "Page", question: Question) -> None:
    """Fill in the form and ask for the map."""
    fields = {"Prompt": "prompt", "Memory": "memory", "Answer": "answer", "Model": "model"}
    for label, name in (fields | {"Shuffled memory: another prompt's": "shuffled"}).items():
        page.get_by_label(label, exact=True).fill(getattr(question, name))
    page.get_by_role("button", name="Compute the map").click()


def ask_for_site(page: "Page", question: Question, layer: int, magnitude: float) -> None:
    ask(page, question)
    page.wait_for_function(FILLED)
    page.locator(f".map [aria-label^='layer {layer}, magnitude {magnitude:g}:']").click()
    page.get_by_text("The same in Python").wait_for()


def read_tables(page: "Page", column: int) -> list[list[list[str]]]:
    """Read the texts of all tables of one memory's column."""
    tables = page.locator(".columns article").nth(column).locator("table")
    read = (
        "tables => tables.map(table => [...table.tBodies[0].rows].map(row => [...row.cells].map(c => c.textContent)))"
    )
    return tables.evaluate_all(read)


def test_the_map_shows_every_effect(page: "Page", server: Server) -> None:
    question = server.ask()
    ask(page, question)
    page.wait_for_function(FILLED)
    cells = pd.concat(sites.sweep_layers(server.injector, question)).sort_values(["layer", "magnitude"])
    buttons = page.locator(".map button")
    shown = [float(text) for text in buttons.all_text_contents()]
    np.testing.assert_allclose(shown, cells["effect"], atol=0.0501)
    for button, cell in zip(buttons.all()[::5], list(cells.itertuples())[::5], strict=True):
        label = button.get_attribute("aria-label")
        assert label is not None
        assert label.startswith(f"layer {cell.layer}, magnitude {cell.magnitude:g}: ")
    heads = page.locator(".map thead th").all_text_contents()
    assert heads == ["layer", *(f"{magnitude:g}" for magnitude in MAGNITUDES)]


def test_the_map_fills_in_as_it_is_computed(page: "Page", server: Server) -> None:
    """Not all cells come at once."""
    page.evaluate(
        """() => {
            window.counts = new Set();
            const count = () => window.counts.add(document.querySelectorAll(".map button:not([disabled])").length);
            new MutationObserver(count).observe(document.body, {subtree: true, childList: true, attributes: true});
        }"""
    )
    ask(page, server.ask())
    page.wait_for_function(FILLED)
    counts = page.evaluate("[...window.counts]")
    n_sites = server.injector.n_layers * len(MAGNITUDES)
    assert n_sites in counts
    assert len([count for count in counts if 0 < count < n_sites]) >= 1


def test_a_site_shows_both_memories_side_by_side(page: "Page", server: Server) -> None:
    question, site = server.ask(), Site.of(1, 2.0, server.injector.n_layers)
    ask_for_site(page, question, 1, 2.0)
    assert page.locator(".map [aria-pressed=true]").count() == 1
    for column, memory in enumerate(question.memories):
        compared = sites.compare_next_tokens(server.injector, question, memory, site)
        text = sites.continue_question(server.injector, question, memory, site)
        heads = sites.read_heads(server.injector, question, memory, site)
        article = page.locator(".columns article").nth(column)
        assert article.locator("h3").text_content() == f"{('The memory', 'The shuffled memory')[column]}: {memory}"
        assert article.locator("p").text_content() == compared.sentence
        next_tokens, continuation, of_heads = read_tables(page, column)
        assert next_tokens == compared.table.to_numpy().tolist()
        assert article.locator(".marked td").all_text_contents() == next_tokens[compared.answer_row]
        assert continuation == [["before", text.obscure], ["after", text.injected]]
        assert of_heads == heads.to_numpy().tolist()
    commands, python = page.locator("pre").all_text_contents()
    assert commands == write_commands(question, site)
    assert python == write_python(question, site)
    # Another site takes the first one's place.
    page.locator(".map [aria-label^='layer 0, magnitude 0.5:']").click()
    page.get_by_text("Layer 0, magnitude 0.5").wait_for()
    page.get_by_text("The same in Python").wait_for()
    assert page.locator(".columns article").count() == 2
    assert (page.locator(".map [aria-pressed=true]").get_attribute("aria-label") or "").startswith("layer 0, ")


def test_texts_are_text_everywhere(page: "Page", server: Server) -> None:
    """Nothing that is typed in becomes a part of the page or runs."""
    attack = "</script></pre>```{{1+1}}<img src=x onerror=window.ran=1><b>bold</b><script>window.ran=1</script>"
    # The tiny model takes no long prompt.
    image = "<img src=x onerror=window.ran=1> of"
    question = server.ask(prompt=image, memory=attack, shuffled=f"in {attack}", answer="<i>L</i>")
    ask_for_site(page, question, 1, 2.0)
    assert page.locator(".columns h3").all_text_contents() == [
        f"The memory: {attack}", f"The shuffled memory: in {attack}",
    ]  # fmt: skip
    assert page.locator("pre").all_text_contents()[1] == write_python(question, Site.of(1, 2.0, 3))
    assert page.locator("main b, main i:not(.q-icon), main img, main script").count() == 0
    ask(page, server.ask(model=attack))
    page.locator(".problem", has_text="is no folder here").wait_for()
    assert attack[:20] in (page.locator(".problem").text_content() or "")
    assert page.locator("main b, main i:not(.q-icon), main img, main script").count() == 0
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " "}, "the prompt is empty; give a text"),
        ({"prompt": "of " * 100}, "the prompt has 102 tokens, BOS included, but the model takes 64; shorten it"),
        ({"memory": ""}, "the memory is empty; give a text"),
        ({"answer": ""}, "the answer '' has no token that carries text; give it a text that the tokenizer knows"),
        ({"shuffled": ""}, "shuffled memory: the memory is empty; give a text"),
        ({"model": ""}, "the model has no name; give an entry of the default study, a local folder, or a repository"),
        ({"model": "no such thing"}, "model 'no such thing' is no folder here and no entry of the default study"),
    ],
)
def test_bad_input_is_one_sentence_and_the_page_goes_on(
    change: dict[str, str], sentence: str, page: "Page", server: Server
) -> None:
    ask(page, server.ask(**change))
    page.locator(".problem", has_text=sentence).wait_for()
    assert page.locator(".status").text_content() == ""
    assert page.locator(".map").count() == 0
    ask(page, server.ask())
    page.wait_for_function(FILLED)
    assert page.locator(".problem").text_content() == ""


def test_the_newest_question_wins(page: "Page", server: Server) -> None:
    for memory in ("Adam Smith", "Nile", MEMORY):
        ask(page, server.ask(memory=memory))
    cells = pd.concat(sites.sweep_layers(server.injector, server.ask())).sort_values(["layer", "magnitude"])
    page.wait_for_function(
        """effects => {
            const shown = [...document.querySelectorAll(".map button")].map(button => parseFloat(button.textContent));
            return shown.length && shown.every((effect, place) => Math.abs(effect - effects[place]) < 0.0501);
        }""",
        arg=cells["effect"].tolist(),
    )


def test_another_model(page: "Page", server: Server, tiny_models: dict[str, Path]) -> None:
    ask(page, server.ask(model=str(tiny_models["gpt-neo"])))
    page.wait_for_function(FILLED)
    assert page.locator(".map tbody tr").count() == 4


def test_examples(page: "Page", server: Server) -> None:
    """An example fills in the form, computes its map, and looks at its site if the model has it."""
    button = page.get_by_role("button", name="The animal in the World Wildlife Fund logo")
    page.get_by_label("Model", exact=True).fill(server.model)
    button.click()
    page.wait_for_function(FILLED)
    assert page.get_by_label("Memory", exact=True).input_value() == "giant panda"
    assert page.get_by_label("Shuffled memory: another prompt's", exact=True).input_value() == "Napoleon Bonaparte"
    assert page.locator(".examples button").count() == 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_the_page_is_accessible(
    browser: "Browser", server: Server, scheme: Literal["light", "dark"], width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(20000)
    page.goto(server.address)
    ask_for_site(page, server.ask(), 1, 2.0)
    found = Axe().run(page).response["violations"]
    assert [violation for violation in found if violation["impact"] in ("serious", "critical")] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 100) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is going on, or what is wrong, can be seen from anywhere on the page.
    page.get_by_label("Memory", exact=True).fill("")
    page.get_by_label("Memory", exact=True).press("Enter")
    page.locator(".problem", has_text="the memory is empty").wait_for()
    context.close()


def test_only_this_machine_is_answered_by_its_own_name(server: Server) -> None:
    port = server.address.rpartition(":")[2]
    assert requests.get(server.address, timeout=10).status_code == 200
    assert requests.get(server.address, timeout=10, headers={"Host": f"evil.example:{port}"}).status_code == 400
