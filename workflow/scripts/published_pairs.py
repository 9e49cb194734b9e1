"""The prompt pairs of one data set of the authors, from one of the files of their results."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.checksums import guard_unchanged
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.data.text_tables import read_csv

if __name__ == "__main__":
    with start_job(globals()) as job:
        with guard_unchanged(job.params.checksums):
            pairs = normalise_pairs(read_csv(Path(job.input[0])), f"file {job.input[0]}")
        pairs.insert(0, "dataset", job.wildcards.dataset)
        write_csv(pairs, Path(job.output[0]))
