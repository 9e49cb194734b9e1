"""The playground's page, laid out with NiceGUI, and the model that it has loaded.

Texts are set as text, never as HTML or Markdown.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pandas as pd
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from memory_injections.analysis.numbers import write_signed
from memory_injections.errors import StudyError
from memory_injections.interactive.injector import Injector
from memory_injections.playground import sites
from memory_injections.playground.questions import (
    FAILS,
    MAGNITUDES,
    WORKS,
    Example,
    Question,
    Site,
    write_commands,
    write_python,
)

P = ParamSpec("P")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)
STYLE = Path(__file__).with_name("page.css")
INTRODUCTION = (
    "A memory is added to the output of one attention layer while the model reads the prompt. Does it make the answer "
    "more probable, and does a shuffled memory, another prompt's, do so as well?"
)
READING = (
    "Change of the log-probability of the answer's first token, in nats (+0.7 is twice as probable), with a row for "
    "each layer and a column for each magnitude. The highest of many changes is positive by chance alone: one prompt "
    "shows what an injection does, and only a study whether it helps. Click a site for more."
)
COPY = "event => navigator.clipboard.writeText(event.target.closest('section').querySelector('pre').textContent)"


class _SupersededError(Exception):
    """A newer request of the same tab, or the end of the tab, has made this one needless."""


class KeptModel:
    """Keeps one model loaded: the newest that a question named.

    Everything that computes runs in one thread, in turn, so that questions do not slow each other down and the page
    stays alive.
    """

    def __init__(self, name: str, injector: Injector) -> None:
        self.name, self._injector = name, injector
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call a function in the thread that works with the model, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def find(self, name: str) -> Injector:
        """Return a model by name, loaded if it is not; raise `StudyError`, one sentence, if there is none."""
        if not name:
            raise StudyError(
                "the model has no name; give an entry of the default study, a local folder, or a repository on the hub"
            )
        if name != self.name:
            self._injector, self.name = Injector.load(name), name
        return self._injector


class Page:
    """The page of one tab: its form, the map of its question, and a close look at one site."""

    def __init__(self, model: KeptModel) -> None:
        self.model = model
        self._turn = 0  # the newest request; older ones stop
        self._asked: tuple[Question, Injector] | None = None
        self._cells: dict[tuple[int, float], TextElement] = {}

    def build(self) -> None:
        """Lay out the page."""
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        ui.context.client.on_delete(self._take_turn)
        with ui.element("main"):
            _add_text("h1", "Memory injections: playground")
            _add_text("p", INTRODUCTION)
            self._build_examples()
            self._build_form()
            with ui.element("div").classes("result"):
                self._map, self._site = ui.element("section"), ui.element("section")
            self._status = _add_text("p", "").classes("status").props("role=status")
            self._problem = _add_text("p", "").classes("problem").props("role=alert")

    def _build_examples(self) -> None:
        with ui.element("section").classes("examples"):
            for title, examples in (("Where it works", WORKS), ("Where it fails", FAILS)):
                with ui.element("div"):
                    _add_text("h2", title)
                    for example in examples:
                        button = _add_text("button", f"{example.prompt} … {example.answer}")
                        button.on("click", lambda example=example: self._show_example(example))
                        _add_text("p", f"Memory: {example.memory}. {example.shows}")

    def _build_form(self) -> None:
        first = WORKS[0]
        with ui.element("section").classes("form"):
            self._prompt = ui.textarea("Prompt", value=first.prompt).props("outlined autogrow").classes("wide")
            self._memory = ui.input("Memory", value=first.memory).props("outlined")
            self._answer = ui.input("Answer", value=first.answer).props("outlined")
            self._shuffled = ui.input("Shuffled memory: another prompt's", value=first.shuffled).props("outlined")
            self._name = ui.input("Model", value=self.model.name).props("outlined")
            for field in (self._memory, self._answer, self._shuffled, self._name):
                field.on("keydown.enter", self._show_map)
            _add_text("button", "Compute the map").classes("main").on("click", self._show_map)

    async def _show_example(self, example: Example) -> None:
        self._prompt.value, self._memory.value = example.prompt, example.memory
        self._answer.value, self._shuffled.value = example.answer, example.shuffled
        # Another model may have fewer layers.
        if await self._show_map() and (example.layer, example.magnitude) in self._cells:
            await self._show_site(example.layer, example.magnitude)

    async def _show_map(self) -> bool:
        return await self._attempt(self._compute_map)

    async def _show_site(self, layer: int, magnitude: float) -> None:
        await self._attempt(lambda turn: self._compute_site(turn, layer, magnitude))

    async def _attempt(self, work: Callable[[int], Awaitable[None]]) -> bool:
        """Do what was asked for until something else is; return whether it is done.

        What goes wrong is shown in one sentence.
        """
        turn = self._take_turn()
        self._problem.text = problem = ""
        try:
            await work(turn)
        except _SupersededError:
            return False
        except StudyError as error:
            problem = str(error)
        except Exception as error:
            logger.exception("the playground failed")
            problem = f"this failed unexpectedly ({type(error).__name__}); the terminal shows more"
        self._status.text, self._problem.text = "", problem
        return not problem

    def _take_turn(self) -> int:
        self._turn += 1
        return self._turn

    async def _compute(self, turn: int, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call a function in the model's thread; raise `_SupersededError` if nobody waits for its result any more."""
        result = await self.model.run(function, *args, **kwargs)
        if turn != self._turn:
            raise _SupersededError
        return result

    async def _compute_map(self, turn: int) -> None:
        fields = (self._prompt, self._memory, self._answer, self._shuffled, self._name)
        question = Question.read(*(field.value or "" for field in fields))
        self._map.clear()
        self._site.clear()
        self._cells = {}
        self._status.text = f"Loading {question.model} …"
        injector = await self._compute(turn, self.model.find, question.model)
        self._status.text = "Computing the map …"
        await self._compute(turn, sites.check_question, injector, question)
        self._asked = question, injector
        self._build_map(injector.n_layers)
        parts = sites.sweep_layers(injector, question)
        while (part := await self._compute(turn, next, parts, None)) is not None:
            for layer, magnitude, effect in zip(part["layer"], part["magnitude"], part["effect"], strict=True):
                self._fill_cell(layer, magnitude, effect)

    def _build_map(self, n_layers: int) -> None:
        with self._map:
            _add_text("h2", "The map")
            _add_text("p", READING)
            with ui.element("div").classes("scroll"), ui.element("table").classes("map"):
                with ui.element("thead"), ui.element("tr"):
                    for name in ("layer", *(f"{magnitude:g}" for magnitude in MAGNITUDES)):
                        _add_text("th", name).props("scope=col")
                with ui.element("tbody"):
                    for layer in range(n_layers):
                        self._build_row(layer)

    def _build_row(self, layer: int) -> None:
        with ui.element("tr"):
            _add_text("th", str(layer)).props("scope=row")
            for magnitude in MAGNITUDES:
                with ui.element("td"):
                    cell = _add_text("button", "").props("disabled")
                    cell.props["aria-label"] = f"layer {layer}, magnitude {magnitude:g}: to be computed"
                    cell.on("click", lambda site=(layer, magnitude): self._show_site(*site))
                    self._cells[layer, magnitude] = cell

    def _fill_cell(self, layer: int, magnitude: float, effect: float) -> None:
        button, (background, text) = self._cells[layer, magnitude], sites.choose_colours(effect)
        shown = write_signed(effect, 1)
        button.text = shown
        button.style(f"background: {background}; color: {text}")
        button.props.pop("disabled", None)
        button.props["aria-label"] = f"layer {layer}, magnitude {magnitude:g}: {shown} nats"

    async def _compute_site(self, turn: int, layer: int, magnitude: float) -> None:
        assert self._asked is not None  # there is a map to click
        (question, injector), site = self._asked, Site.of(layer, magnitude, self._asked[1].n_layers)
        for place, cell in self._cells.items():
            cell.props["aria-pressed"] = str(place == (layer, magnitude)).lower()
        self._site.clear()
        with self._site:
            _add_text("h2", f"Layer {layer}, magnitude {magnitude:g}").run_method(
                "scrollIntoView", {"block": "nearest"}
            )
            with ui.element("div").classes("columns"):
                columns = [ui.element("article"), ui.element("article")]
        named = list(zip(columns, ("The memory", "The shuffled memory"), question.memories, strict=True))
        self._status.text = "Computing the next tokens …"
        for column, name, memory in named:
            with column:
                _add_text("h3", f"{name}: {memory}")
            compared = await self._compute(turn, sites.compare_next_tokens, injector, question, memory, site)
            with column:
                _add_text("p", compared.sentence)
                _add_table("Next tokens (effect in nats, ranks from 0)", compared.table, compared.answer_row)
        self._status.text = "Continuing the prompt …"
        for column, _, memory in named:
            text = await self._compute(turn, sites.continue_question, injector, question, memory, site)
            table = pd.DataFrame({"": ["before", "after"], "continuation": [text.obscure, text.injected]})
            with column:
                _add_table("Continuation", table)
        self._status.text = "Reading the heads …"
        for column, _, memory in named:
            heads = await self._compute(turn, sites.read_heads, injector, question, memory, site)
            with column:
                _add_table(f"Heads of layer {site.heads_layer} in vocabulary space", heads)
        with self._site:
            _add_code("The same from the command line", write_commands(question, site))
            _add_code("The same in Python", write_python(question, site))


def _add_text(tag: str, text: str) -> TextElement:
    """Add an HTML element with a text."""
    return TextElement(tag=tag, text=text)


def _add_table(caption: str, table: pd.DataFrame, marked: int | None = None) -> None:
    """Add a table of texts, with one row marked; keys scroll it where it is wider than the screen."""
    with ui.element("div").classes("scroll").props("tabindex=0"), ui.element("table"):
        _add_text("caption", caption)
        with ui.element("thead"), ui.element("tr"):
            for name in table:
                _add_text("th", name).props("scope=col")
        with ui.element("tbody"):
            for row, texts in enumerate(table.itertuples(index=False)):
                with ui.element("tr").classes("marked" if row == marked else ""):
                    for text in texts:
                        _add_text("td", text)


def _add_code(title: str, code: str) -> None:
    with ui.element("section").classes("code"):
        _add_text("h3", title)
        _add_text("button", "Copy").on("click", js_handler=COPY)
        _add_text("pre", code).props("tabindex=0")
