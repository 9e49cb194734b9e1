"""Records of the library's functions that the jobs of a study run.

A test puts this file into a copy of the library, and a call of `see` into every function there.
"""

import atexit
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Variables: the folder of the records, and for what a job starts, the job's parameters.
FOLDER, PARAMS = "CALL_RECORDS", "CALL_RECORDS_OF"
LIBRARY = f"{os.sep}memory_injections{os.sep}"
SEEN: set[tuple[str, str, str]] = set()


def see(module: str, part: str, function: str) -> None:
    """Record a function in a part of a module's code, unless it runs because the library is being imported.

    What an import computes counts where the names that it defines are used.
    """
    call = (module, part, function)
    if call not in SEEN and not any(is_import(frame) for frame in list_frames()):
        if not SEEN and (params := os.environ.get(PARAMS) or find_params()):
            os.environ[PARAMS] = params
            atexit.register(save)
        SEEN.add(call)


def list_frames() -> list[FrameType]:
    """What runs at the moment, the innermost first."""
    frames, frame = [], sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        frames.append(frame)
    return frames


def is_import(frame: FrameType) -> bool:
    return frame.f_code.co_name == "<module>" and LIBRARY in frame.f_code.co_filename


def find_params() -> str:
    """The parameters of the job that runs, as text; an empty one where none does."""
    jobs: Iterator[Any] = (frame.f_globals.get("snakemake") for frame in list_frames())
    return next((repr(list(job.params)) for job in jobs if hasattr(job, "params")), "")


def save() -> None:
    """Write what ran in this process to a file of its own."""
    with tempfile.NamedTemporaryFile("w", dir=os.environ[FOLDER], suffix=".json", delete=False) as file:
        json.dump({"params": os.environ[PARAMS], "calls": sorted(SEEN)}, file)
