"""A server that has imported slow libraries once, and runs Python programs in children forked from it.

Half of the time of a tiny study goes into starting Python and importing PyTorch and its kin, job after job. This server
knows nothing of the project: a program is read anew every time, with its own arguments, folder and environment.
`start` makes a stand-in for Python that asks the server; a program that it runs finds the stand-in as `sys.executable`,
so that Snakemake starts its jobs through it as well. What the stand-in is not made for (options such as
`-c`, notebooks, another environment of the libraries that were imported) goes to Python itself.
"""

import atexit
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
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "snakemake.cli", "snakemake.dag", "snakemake.report", "pandas", "pyarrow.dataset", "pyarrow.parquet",
    "pandera.pandas", "scipy.stats", "jinja2", "matplotlib.figure", "seaborn", "papermill", "nbconvert",
    "transformer_lens.model_bridge", "transformers",
)  # fmt: skip
# Servers of this process; nobody waits for them.
STARTED: list[subprocess.Popen[bytes]] = []
# Variables that libraries read when they are imported. (Of threads, scripts tell PyTorch themselves.)
READ_AT_IMPORT = ("HF_", "MPL", "TRANSFORMERS_", "TORCH_", "PYTORCH_", "CUDA_")

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


def start(folder: Path) -> None:
    """Start a server that lives as long as the test run; the stand-in for Python is `folder / "python"` afterwards.

    The folder may be renamed; there is no server where forking is not safe.
    """
    stand_in = folder / "python"
    if sys.platform != "linux" or Path("/dev/nvidia0").exists():
        # A child cannot use a GPU that its parent may have looked at.
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
        stand_in.chmod(0o755)
        return
    stand_in.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    stand_in.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Processes of pytest-xdist end with their parent.
    lives_with = os.getppid() if "PYTEST_XDIST_WORKER" in environment else os.getpid()
    server = subprocess.Popen(
        [sys.executable, __file__, str(lives_with)],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    STARTED.append(server)


def serve(lives_with: int) -> None:
    """Answer requests at `socket` in this folder as long as another process is alive."""
    folders = sys.path[1:]
    for library in LIBRARIES:
        import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for children
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
    """Run what was asked for, in this child of the server, and end it."""
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
    sys.path[:] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *folders]
    status = run(words)
    connection.sendall(str(status).encode())
    os._exit(status)


def can_run(words: list[str], environment: dict[str, str]) -> bool:
    """Whether this is a script or a module, in the environment in which the libraries were imported."""

    def read(variables: Any) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(READ_AT_IMPORT)}

    is_program = bool(words) and (words[0] == "-m" or not words[0].startswith("-"))
    # A notebook's kernel wants to tell matplotlib how to draw before anybody imports it.
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
    # What Python does at its end.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status


if __name__ == "__main__":
    serve(int(sys.argv[1]))
