# Which sweeps the authors published. This is known only after their results are fetched.
import json

from memory_injections.paper.published_sources import list_result_files


def read_inventory():
    """The folder of each of the authors' sweeps, by the sweep's path; waits for the checkpoint `published`."""
    with checkpoints.published.get().output[0].open() as file:
        return json.load(file)


def list_files_of_sweep(wildcards):
    """The authors' files of a sweep."""
    return list_result_files(Path(read_inventory()[SweepId(**wildcards).path]))
