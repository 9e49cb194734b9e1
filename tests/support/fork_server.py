"""A server that has imported slow libraries once, and runs Python programs in children forked from it.

Half of a tiny study's time goes into starting Python and importing libraries such as PyTorch in every job. This server
imports nothing of the project: each program is read afresh, with its own arguments, folder and environment. `start`
makes a stand-in for Python that asks the server. Programs see the stand-in as `sys.executable`, so Snakemake starts its
jobs through it as well. Everything else (options such as `-c`, notebooks, environment variables that differ from those
at import) goes to Python itself.
"""

import atexit
import ctypes
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "snakemake.cli", "snakemake.dag", "snakemake.report", "pandas", "pyarrow.dataset", "pyarrow.parquet",
    "scipy.stats", "jinja2", "matplotlib.figure", "seaborn", "papermill", "nbconvert",
    "transformer_lens.model_bridge", "transformers",
)  # fmt: skip
# Keeps references to the servers, which run until the tests end.
STARTED: list[subprocess.Popen[bytes]] = []
# Variables that libraries read on import. (The number of threads is not among them: scripts set it in PyTorch.)
READ_AT_IMPORT = ("HF_", "MPL", "TRANSFORMERS_", "TORCH_", "PYTORCH_", "CUDA_")

# The operation of Linux's prctl that names a process.
SET_NAME = 15

STAND_IN = """#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    stand_in, words = os.path.abspath(sys.argv[0]), sys.argv[1:]
    server.connect(os.path.join(os.path.dirname(stand_in), "socket"))
    request = json.dumps([stand_in, words, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "little")], [0, 1, 2])
    server.sendall(request)
    answer = server.recv(8)
if answer == b"python":
    os.execv({python!r}, [{python!r}, *words])
sys.exit(int(answer or 1))
"""


def start(folder: Path, variables: Mapping[str, str] | None = None) -> None:
    """Start a server that lives as long as the test run, and make the stand-in for Python, `folder / "python"`.

    It is for programs with this process's environment and `variables`. The folder may be renamed later. Where forking
    is not safe, there is no server and the stand-in just runs Python.
    """
    stand_in = folder / "python"
    if sys.platform != "linux" or Path("/dev/nvidia0").exists():
        # A forked child cannot use a GPU if its parent has initialised CUDA.
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
        stand_in.chmod(0o755)
        return
    stand_in.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    stand_in.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(variables or {})
    # All pytest-xdist processes share the server, so it lives as long as their parent.
    lives_with = os.getppid() if "PYTEST_XDIST_WORKER" in environment else os.getpid()
    server = subprocess.Popen(
        [sys.executable, __file__, str(lives_with)],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    STARTED.append(server)


def serve(lives_with: int) -> None:
    """Answer requests at `socket` in the current folder while the process `lives_with` is alive."""
    folders = sys.path[1:]
    for library in LIBRARIES:
        import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # finished children leave no zombies
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        listener.listen(100)
        print("ready", flush=True)
        while Path(f"/proc/{lives_with}").exists():
            if select.select([listener], [], [], 1)[0]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    answer(connection, folders)
                connection.close()


def answer(connection: socket.socket, folders: list[str]) -> None:
    """Run the requested program in this child of the server, then end the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        stand_in, words, folder, environment = json.loads(file.read(int.from_bytes(length, "little")))
    if not can_run(words, environment):
        connection.sendall(b"python")
        os._exit(0)
    for descriptor, number in zip(descriptors, (0, 1, 2), strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = stand_in
    name_process(words[0])
    sys.path[:] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *folders]
    status = run(words)
    connection.sendall(str(status).encode())
    os._exit(status)


def name_process(program: str) -> None:
    """Name this process after its program, as tools show it: `inject.py` for Snakemake's copy `tmp1a2b3c.inject.py`."""
    name = Path(program).name.split(".", 1)[-1]
    ctypes.CDLL(None).prctl(SET_NAME, name.encode(), 0, 0, 0)


def can_run(words: list[str], environment: dict[str, str]) -> bool:
    """Whether this is a script or module, with the same import-time variables as the server."""

    def read(variables: Any) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(READ_AT_IMPORT)}

    is_program = bool(words) and (words[0] == "-m" or not words[0].startswith("-"))
    # A notebook's kernel must set matplotlib's backend before matplotlib is imported.
    is_program = is_program and "ipykernel_launcher" not in words
    return is_program and read(environment) == read(os.environ)


def run(words: list[str]) -> int:
    """Run a script or a module as Python does; return its exit status."""
    try:
        if words[0] == "-m":
            sys.path[0] = str(Path.cwd())
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(words[0]).resolve().parent)
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    # Python's own steps at exit, which os._exit skips.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status


if __name__ == "__main__":
    serve(int(sys.argv[1]))
