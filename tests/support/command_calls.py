"""Calls of the command line within the test's own process, and the folder that they are made in."""

import json
from pathlib import Path
from typing import Any

import pytest
from memory_injections.command_line import cli
from typer.testing import CliRunner, Result


@pytest.fixture(autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has no study in it."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == status, done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def document(*arguments: str) -> Any:
    """The one JSON document on stdout; progress messages go to stderr."""
    done = run(*arguments, "--json")
    assert done.stderr.startswith("loading ")
    return json.loads(done.stdout)
