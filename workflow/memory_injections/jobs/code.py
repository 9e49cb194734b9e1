"""The code of a job: its pieces by name, and whether one was edited since the run was planned."""

from collections.abc import Mapping
from pathlib import Path

from memory_injections.checksums import hash_lines, read_status
from memory_injections.errors import ChangedFileError
from memory_injections.jobs.digest import NAME, PACKAGE, trace_function, trace_script
from memory_injections.registry import find_extensions

WORKFLOW = PACKAGE.parent
# The environment variable by which a run tells its jobs the status of the code that it was planned with.
STATUS_VARIABLE = "MEMORY_INJECTIONS_CODE_STATUS"


def name_class(thing: type) -> str:
    """Return the name by which `digest_named` knows a class of this package."""
    return f"{thing.__module__.removeprefix(f'{NAME}.')}.{thing.__name__}"


def digest_named(name: str, file: Path | None = None) -> str:
    """Digest a piece of code with everything that it uses.

    A name with a slash is the path of a script or notebook in the workflow, unless that is in another `file`; any other
    is a function or class of this package, such as `figures.maps.effect`, or of an extension.
    """
    if "/" in name:
        return trace_script(file or WORKFLOW / name).digest
    module, _, function = name.rpartition(".")
    return trace_function(module, function).digest


def describe_code_status() -> str:
    """Return a checksum of the status (sizes, times, inodes) of all files of the workflow's code."""
    folders = PACKAGE, WORKFLOW / "scripts", WORKFLOW / "notebooks"
    files = (file for folder in folders for ending in ("py", "ipynb") for file in folder.rglob(f"*.{ending}"))
    lines = (f"{file.relative_to(WORKFLOW)} {read_status(file)}" for file in sorted(files))
    extensions = (f"{name} {read_status(file)}" for name, file in sorted(find_extensions().items()))
    return hash_lines([*lines, *extensions])


def check_code(planned: Mapping[str, str], status: str | None) -> None:
    """Raise `ChangedFileError` if a piece of code has another digest than when the run was planned.

    With the `status` of then, all files are as they were, and no digest is made.
    """
    if status == describe_code_status():
        return
    for name, digest in planned.items():
        # The script of a workflow that was loaded from a URL is in no folder.
        if ("/" not in name or (WORKFLOW / name).is_file()) and digest_named(name) != digest:
            raise ChangedFileError(WORKFLOW / name if "/" in name else PACKAGE)
