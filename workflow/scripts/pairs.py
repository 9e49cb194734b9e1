"""One normalised, validated table of prompt pairs."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.data.prompt_pairs import STRIPPED, strip_pairs
from memory_injections.data.sources import list_data_sources
from memory_injections.terms import unite
from pydantic import TypeAdapter

if __name__ == "__main__":
    with start_job(globals()) as job:
        source = TypeAdapter(unite(list_data_sources())).validate_python(job.params.source)
        pairs = source.read_pairs()
        is_kept = source.blanks == "keep"
        pairs = pairs.assign(**{STRIPPED: ""}) if is_kept else strip_pairs(pairs, f"data set {job.params.dataset}")
        pairs.insert(0, "dataset", job.params.dataset)
        write_csv(pairs, Path(job.output[0]))
