"""What keeps the page from being served is one sentence."""

import socket
import sys
from pathlib import Path

import pytest
from memory_injections.command_line import cli
from memory_injections.errors import StudyError
from memory_injections.playground import serving
from typer.testing import CliRunner


def test_a_port_in_use(tiny_models: dict[str, Path]) -> None:
    with socket.create_server((serving.HOST, 0)) as other:
        port = other.getsockname()[1]
        done = CliRunner().invoke(cli.app, ["playground", "--port", str(port), "--model", str(tiny_models["gpt2"])])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"memory-injections: port {port} of 127.0.0.1 cannot be had (")
    assert done.stderr.endswith("; give another with --port\n")
    assert len(done.stderr.splitlines()) == 1
    assert serving.find_port(port) == port


def test_ports() -> None:
    assert 1024 < serving.find_port(0) < 65536
    for wrong in (-1, 70000):
        with pytest.raises(StudyError, match=f"port {wrong} of 127.0.0.1 cannot be had"):
            serving.find_port(wrong)


def test_without_the_web_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    with pytest.raises(StudyError, match=r"needs the package nicegui, which is not installed; .* '\.\[playground\]'$"):
        serving.find_port(0)
