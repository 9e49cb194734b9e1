# What the authors published. This is known only after their results are fetched.
import json

from memory_injections.checksums import verify_file
from memory_injections.errors import DamagedFileError


def read_published(output):
    """What the checkpoint `published` wrote: its `inventory` or its `checksums`; waits for it."""
    path = Path(getattr(checkpoints.published.get().output, output))
    try:
        verify_file(path)
    except DamagedFileError as error:
        raise WorkflowError(str(error)) from None
    return json.loads(path.read_text(encoding="utf-8"))


def list_checksums(files):
    """The checksums of some of the authors' files, which a job that reads them verifies."""
    known = read_published("checksums")
    return {Path(file): known[file] for file in files}


def list_published():
    """The authors' sweeps that have files to use, with the paths of these files."""
    return {
        SweepId.from_path(path): files["used"]
        for path, files in read_published("inventory")["sweeps"].items()
        if files["used"]
    }


def locate_published_cells(sweep):
    """Path of the authors' cells of a sweep."""
    return f"{PUBLISHED_CELLS}/{sweep.path}.parquet"


def list_files_of_sweep(wildcards):
    """The authors' files of a sweep."""
    return list_published()[SweepId.parse(**wildcards)]


def list_file_of_pairs(wildcards):
    """The first of the authors' files of a data set: all of them have its prompts."""
    return next(
        files
        for sweep, files in list_published().items()
        if sweep.dataset == wildcards.dataset
    )[0]


def list_surveyed_files(wildcards):
    """All files of the authors' sweeps that can be used."""
    return [path for files in list_published().values() for path in files]


def list_word_files(wildcards):
    """The authors' files of random words at one site."""
    return list(read_published("inventory")["word_files"])


def list_cells_of_words(wildcards):
    """The authors' cells that share words with these files."""
    sweeps = map(SweepId.from_path, read_published("inventory")["word_files"].values())
    return [
        locate_published_cells(sweep)
        for sweep in sorted(set(sweeps) & list_published().keys())
    ]
