"""Which layer the authors' random words at one site belong to."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_csv
from memory_injections.paper.word_files import check_word_files
from memory_injections.sweeps.cells import index_sweeps
from memory_injections.sweeps.identity import SweepId

if __name__ == "__main__":
    with start_job(globals()) as job:
        inventory = json.loads(Path(job.input.inventory).read_text(encoding="utf-8"))
        files = {Path(path): SweepId.from_path(sweep) for path, sweep in inventory["word_files"].items()}
        prompts = {SweepId.from_path(path).dataset: sweep["n_prompts"] for path, sweep in inventory["sweeps"].items()}
        write_csv(check_word_files(files, index_sweeps(map(Path, job.input.cells)), prompts), Path(job.output[0]))
