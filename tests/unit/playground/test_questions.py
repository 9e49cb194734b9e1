"""The command line and the Python code that a page shows give what it shows, whatever the texts are."""

import json
import shlex
from typing import Any

import numpy as np
import pandas as pd
import pytest
from memory_injections import Injector
from memory_injections.command_line import cli
from memory_injections.playground import sites
from memory_injections.playground.questions import Question, Site, write_commands, write_python
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("one_thread")
SITE = Site.of(1, 2.0, 3)


@pytest.fixture(params=["question", "hostile"])
def asked(request: pytest.FixtureRequest) -> Question:
    return request.getfixturevalue(request.param)


def sweep(injector: Injector, question: Question) -> pd.DataFrame:
    return pd.concat(sites.sweep_layers(injector, question)).sort_values(["layer", "magnitude"])


def test_a_question_has_no_blanks_at_the_ends_of_its_texts() -> None:
    read = Question.read(" Lima lies in \u200b", " Peru", "\tthe west\n", "Chile\ufeff", "tiny")
    assert read == Question(" Lima lies in", "Peru", "the west", "Chile", "tiny")


def test_commands(injector: Injector, asked: Question) -> None:
    # A quoted line break stays within its command.
    commands = [""]
    for line in write_commands(asked, SITE).split("\n"):
        commands[-1] += line
        try:
            shlex.split(commands[-1])
        except ValueError:
            commands[-1] += "\n"
        else:
            commands.append("")
    documents = []
    for command in filter(None, commands):
        program, name, *arguments = shlex.split(command)
        assert program == "memory-injections"
        done = CliRunner().invoke(cli.app, [name, "--json", *arguments])
        assert done.exit_code == 0, done.stderr
        documents.append(json.loads(done.stdout))
    grid, *injections, first, second, heads = documents
    np.testing.assert_allclose(
        [cell["p_injected"] for cell in grid["cells"]], sweep(injector, asked)["p_injected"], rtol=1e-4
    )
    for memory, injection, continuation in zip(asked.memories, injections, (first, second), strict=True):
        shown = sites.compare_next_tokens(injector, asked, memory, SITE)
        assert f"{injection['answer_token']['p_injected']:.3g}" == shown.table["after"].iloc[shown.answer_row]
        text = sites.continue_question(injector, asked, memory, SITE)
        assert (continuation["before"], continuation["after"]) == (text.obscure, text.injected)
    assert {row["layer"] for row in heads["heads"]} == {SITE.heads_layer}


def test_python(injector: Injector, asked: Question) -> None:
    printed: list[Any] = []
    exec(write_python(asked, SITE), {"print": printed.append})
    grid, *by_memory = printed
    np.testing.assert_allclose(grid["p_injected"], sweep(injector, asked)["p_injected"], rtol=1e-4)
    for memory, (tokens, text, heads) in zip(asked.memories, (by_memory[:3], by_memory[3:]), strict=True):
        shown = sites.compare_next_tokens(injector, asked, memory, SITE)
        assert repr(tokens["token"].iloc[0]) == shown.table["next token"].iloc[0]
        assert text == sites.continue_question(injector, asked, memory, SITE)
        read = sites.read_heads(injector, asked, memory, SITE)
        assert read["after"].iloc[0].startswith(repr(heads["token"].iloc[0]))
