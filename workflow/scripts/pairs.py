"""One normalised, validated table of prompt pairs."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.data.sources import Dataset
from pydantic import TypeAdapter

if __name__ == "__main__":
    with start_job(globals()) as job:
        pairs = TypeAdapter(Dataset).validate_python(job.params.source).read_pairs()
        pairs.insert(0, "dataset", job.params.dataset)
        write_csv(pairs, Path(job.output[0]))
