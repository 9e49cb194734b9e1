# Which sweeps the authors published, known once their results are there.
import json

from memory_injections.sweeps.published_sources import list_result_files


def read_inventory():
    """The authors' sweeps (as paths) and their folders, known once their results are there."""
    with checkpoints.published.get().output[0].open() as file:
        return json.load(file)


def list_files_of_sweep(wildcards):
    """The authors' files of a sweep."""
    return list_result_files(Path(read_inventory()[SweepId(**wildcards).path]))
