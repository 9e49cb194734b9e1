"""A tiny model, and questions to it."""

from pathlib import Path

import pytest
from memory_injections import Injector
from memory_injections.playground.questions import Question


@pytest.fixture(scope="package")
def injector(tiny_models: dict[str, Path]) -> Injector:
    return Injector.load(tiny_models["gpt2"], "cpu")


@pytest.fixture
def question(tiny_models: dict[str, Path]) -> Question:
    prompt = "The author of Das Kapital is buried in the city of"
    return Question(prompt, "Karl Marx", "London", "Don Quixote", str(tiny_models["gpt2"]))


@pytest.fixture
def hostile(tiny_models: dict[str, Path]) -> Question:
    """Texts that mean something to a shell, to Python and to a browser."""
    prompt = "-x 'of' \"$HOME\" `id`; \\n {0}\n<b>the</b> city of"
    return Question(prompt, "--layer '<i>", "<script>alert(1)</script>", "\"\"\"'''", str(tiny_models["gpt2"]))
