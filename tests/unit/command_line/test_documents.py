"""The examples in README, tutorial and the pages on the command line and on Python, on the default study's model."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_calls import document, here, run
from conftest import ROOT
from memory_injections.interactive.pretrained import CACHE_VARIABLE

__all__ = ["here"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def at_home(default_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose cache already has the default model."""
    monkeypatch.setenv(CACHE_VARIABLE, str(default_model))


def blocks(text: str) -> list[tuple[str, str]]:
    """The languages and texts of a document's code blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def assert_same_output(found: str, documented: str) -> None:
    """Assert that the words are the same and numbers differ no more than between machines."""
    words, documented_words = (" ".join(NUMBER.sub("#", text).split()) for text in (found, documented))
    assert words == documented_words
    numbers, documented_numbers = (list(map(float, NUMBER.findall(text))) for text in (found, documented))
    np.testing.assert_allclose(numbers, documented_numbers, rtol=0.02, atol=0.11)


def list_commands(text: str) -> list[list[str]]:
    """The calls of `memory-injections` in a document's shell blocks, as words."""
    shells = [block for language, block in blocks(text) if language == "bash"]
    lines = "\n".join(shells).replace("\\\n", "").replace(".venv/bin/", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("memory-injections ")]


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("name", ["tutorial", "command-line"])
def test_the_documents_show_true_output(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```bash\n([^`]*)^```\n\n```text\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    outputs = [(list_commands(f"```bash\n{command}```"), output) for command, output in shown]
    assert len([commands for commands, _ in outputs if commands]) >= 3
    Path("config").mkdir()
    for language, block in blocks(text):
        if language == "csv":
            Path("config/capitals.csv").write_text(block, encoding="utf-8")
    for commands, output in outputs:
        for command in commands:
            assert_same_output(run(*command[1:]).stdout, output)


@pytest.mark.usefixtures("at_home")
def test_one_example_is_corrected_and_one_is_spoiled() -> None:
    commands = list_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    tokens = [document(*command[1:])["answer_token"] for command in commands]
    assert [(token["rank_obscure"] == 0, token["rank_injected"] == 0) for token in tokens] == [
        (False, True), (True, False),
    ]  # fmt: skip
    for name in ("tutorial", "command-line"):
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert {command[2] for command in commands} <= {command[2] for command in list_commands(text)}


@pytest.mark.usefixtures("at_home")
def test_documented_python_runs() -> None:
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    for language, text in blocks((ROOT / "docs" / "api.md").read_text(encoding="utf-8")):
        if language == "python":
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(text, namespace)
        elif language == "text":
            assert_same_output(printed.getvalue(), text)
    assert "own" in namespace
